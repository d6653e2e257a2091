"""Copies of checkpoints outside the database: all that shows that somebody has rewritten the whole log.

An anchor is a function of a checkpoint that stores its signed note and returns the place. ``AUDIT_ANCHORS`` names those
of this module, or your own. ``audit_verify --anchor`` compares a copy with the log.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Final
from urllib.request import Request, urlopen

from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.mail import mail_admins
from django.db import transaction
from django.utils import timezone
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _

from dovetail_audit.conf import conf
from dovetail_audit.models import Checkpoint, Seal
from dovetail_audit.proofs import SignedNote
from dovetail_audit.sealing.sealer import lock_seal, newest
from dovetail_audit.sealing.storage import audit_storage

logger = logging.getLogger("dovetail.audit")

Anchor = Callable[[Checkpoint], str]

_INTERVAL: Final = timedelta(hours=1)
_TIMEOUT: Final = 10


def storage(checkpoint: Checkpoint) -> str:
    """Save the note in ``STORAGES[AUDIT_STORAGE]``."""
    return audit_storage().save(f"checkpoints/{checkpoint.pk:019d}.txt", ContentFile(checkpoint.signature.encode()))


def log(checkpoint: Checkpoint) -> str:
    """Log the note, for a log server that the application cannot write to otherwise."""
    logger.info("Checkpoint of the audit log: %s", checkpoint.signature, extra={"checkpoint": checkpoint.signature})
    return logger.name


def mail(checkpoint: Checkpoint) -> str:
    """Send the note to ``ADMINS``."""
    text = SignedNote.parse(checkpoint.signature).text
    subject = _("Checkpoint of the audit log %(origin)s") % {"origin": text.partition("\n")[0]}
    mail_admins(subject, checkpoint.signature)
    return "ADMINS"


def url(checkpoint: Checkpoint) -> str:
    """Send the note to ``AUDIT_ANCHOR_URL`` by POST. The answer must be a success within ten seconds."""
    if not conf.ANCHOR_URL:
        raise ImproperlyConfigured("AUDIT_ANCHORS contains the anchor 'url', but AUDIT_ANCHOR_URL is not set.")
    headers = {"Content-Type": "text/plain; charset=utf-8", "User-Agent": "dovetail-audit"}
    request = Request(conf.ANCHOR_URL, checkpoint.signature.encode(), headers)  # noqa: S310  # http or https only (E001)
    with urlopen(request, timeout=_TIMEOUT):  # noqa: S310  # see above; raises HTTPError for an error status
        return conf.ANCHOR_URL


def anchor_newest(*, using: str, force: bool) -> Checkpoint | None:
    """Give a checkpoint to all anchors if it is due. Return it, or None before it is due."""
    anchors = dict(_configured())
    row = _due(using, force=force) if anchors else None
    if row is None:
        return None
    places: dict[str, str] = json.loads(row.anchor or "{}")
    for name, function in anchors.items():
        # After a failure, only the anchors that failed are tried again.
        if name not in places:
            _store(name, function, row, places)
    row.anchor = json.dumps(places)
    row.anchored_at = timezone.now() if anchors.keys() <= places.keys() else None
    row.save(using=using, update_fields=["anchor", "anchored_at"])
    return row


def _store(name: str, function: Anchor, row: Checkpoint, places: dict[str, str]) -> None:
    try:
        places[name] = str(function(row))
    except Exception:  # an anchor may raise anything, and must not stop the others or the sealer
        logger.exception("The anchor %s failed. The next pass of the sealer tries again.", name)


def _due(using: str, *, force: bool) -> Checkpoint | None:
    with transaction.atomic(using=using):
        seal = lock_seal(using)
        rows = Checkpoint._base_manager.using(using)
        last = None if seal.anchored_size is None else rows.filter(pk=seal.anchored_size).first()
        now = timezone.now()
        if last is not None and not force and last.anchored_at is None and last.at > now - _INTERVAL:
            return last
        if last is not None and not force and last.anchored_at is not None and last.anchored_at > now - _INTERVAL:
            return None
        row = newest(using)
        if row is None or (last is not None and row.pk == last.pk and last.anchored_at is not None):
            return None
        Seal._base_manager.using(using).filter(pk=seal.pk).update(anchored_size=row.pk)
        return row


def _configured() -> Iterator[tuple[str, Anchor]]:
    for item in conf.ANCHORS:
        function: Anchor = import_string(item) if isinstance(item, str) else item
        yield (item if isinstance(item, str) else _name(function)), function


def _name(function: object) -> str:
    kind = type(function)
    module, name = (
        getattr(function, "__module__", kind.__module__),
        getattr(function, "__qualname__", kind.__qualname__),
    )
    return f"{module}.{name}"


def places(checkpoint: Checkpoint) -> Mapping[str, str]:
    """Return where the checkpoint is stored, by the names of the anchors."""
    stored: Mapping[str, str] = json.loads(checkpoint.anchor or "{}")
    return stored
