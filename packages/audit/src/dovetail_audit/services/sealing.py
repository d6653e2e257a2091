"""Seal entries, and store checkpoints outside the database."""

from __future__ import annotations

from typing import Final

from dovetail_audit.entries import databases
from dovetail_audit.events import AUDIT_KEY_ACCEPTED
from dovetail_audit.exceptions import BrokenSeal, UnknownSigner
from dovetail_audit.models import Checkpoint
from dovetail_audit.sealing import anchors, sealer
from dovetail_audit.verification.findings import TAMPERING, Kind
from dovetail_audit.verification.scan import verify
from dovetail_core.events import emit

#: Entries that are not sealed and were written with the key that is gone. They are neither sealed nor forgotten.
_NOT_SEALED: Final = frozenset({Kind.MAC_INVALID})


def seal(*, using: str | None = None, everything: bool = False) -> Checkpoint | None:
    """Append the entries that are not sealed yet to the Merkle tree, and return the newest checkpoint, if any.

    A pass looks back ``AUDIT_SEAL_OVERLAP`` seconds before the newest checkpoint, and once an hour a day; with
    ``everything`` it looks at all entries. Each batch of entries is one transaction, so an interrupted pass leaves
    neither a gap nor a duplicate. Several processes can seal at the same time: they wait for each other.

    Raise ``BrokenSeal`` if the newest checkpoint was changed or cannot be verified, and ``ImproperlyConfigured`` if
    ``AUDIT_SIGNING_KEY`` cannot be used.
    """
    return sealer.seal_all(using=using or databases.home(), everything=everything)


def accept_unknown_key(*, using: str | None = None) -> Checkpoint | None:
    """Seal after a checkpoint whose key the project no longer has, and return the newest checkpoint.

    All entries, leaves and roots are compared first. The event ``audit.key_accepted`` is recorded, and its
    checkpoint covers the whole log. The old key protects nothing then: somebody who controls the database could have
    rewritten the log under an invented key, so compare with an anchor before (``audit_verify --anchor``).

    Raise ``BrokenSeal`` if anything was tampered with. Without an unknown key, this is ``seal()``.
    """
    using = using or databases.home()
    last = sealer.newest(using)
    if last is None:
        return seal(using=using)
    try:
        sealer.load_frontier(last)
        return seal(using=using)
    except UnknownSigner as error:
        signer = str(error)
    for finding in verify(using=using):
        if finding.kind in TAMPERING - _NOT_SEALED:
            raise BrokenSeal(f"The log was tampered with: {finding.message}")
    root = bytes(last.root)
    emit(AUDIT_KEY_ACCEPTED, data={"size": last.pk, "root": root.hex(), "reason": signer}, using=using)
    return sealer.seal_all(using=using, trusted=root)


def anchor(*, using: str | None = None, force: bool = False) -> Checkpoint | None:
    """Give the newest checkpoint to all ``AUDIT_ANCHORS``, once an hour, and return it. Return None before it is due.

    An anchor that fails is logged and tried again by the next call, for up to an hour with the same checkpoint.
    ``force`` ignores the hour.
    """
    return anchors.anchor_newest(using=using or databases.home(), force=force)
