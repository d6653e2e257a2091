"""Whether one entry is as it was written, without reading the tree."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from dovetail_audit.sealing.merkle import leaf_hash
from dovetail_audit.sealing.sealer import content_of, is_authentic
from dovetail_audit.verification.rows import personal_problem


class Integrity(models.TextChoices):
    """The result for one entry. Only ``audit_verify`` shows deleted entries, and trees that were rebuilt as a whole."""

    SEALED = "sealed", _("sealed, unchanged")
    UNSEALED = "unsealed", _("authentic, not sealed yet")
    ERASED = "erased", _("sealed, personal data erased")
    ALTERED = "altered", _("ALTERED")


def integrity_of(entry: Any) -> Integrity:
    """Compare an entry of ``rows.with_leaf`` with its leaf, or its authentication code. No query; about 20 µs."""
    text = content_of(entry)
    if text is None:
        return Integrity.ALTERED
    if entry.leaf_hash is None:
        intact = is_authentic(entry, text)
    else:
        intact = leaf_hash(text, bytes(entry.mac)) == bytes(entry.leaf_hash)
    if not intact or personal_problem(entry) is not None:
        return Integrity.ALTERED
    if entry.erased_at is not None:
        return Integrity.ERASED
    return Integrity.UNSEALED if entry.leaf_hash is None else Integrity.SEALED
