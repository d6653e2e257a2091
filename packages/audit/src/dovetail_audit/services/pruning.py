"""Delete the oldest entries. Their leaves remain, so the proofs of all others, and of archived ones, remain valid."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import IO, Final

from django.core.files.base import File
from django.db import OperationalError, connections, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from dovetail_audit import proofs
from dovetail_audit.conf import conf
from dovetail_audit.entries import databases
from dovetail_audit.events import AUDIT_PRUNED
from dovetail_audit.exceptions import BrokenSeal, NotPruned, UnknownSigner
from dovetail_audit.exports import json_lines
from dovetail_audit.models import Checkpoint, Entry, Leaf
from dovetail_audit.protection.triggers import suspended
from dovetail_audit.reading.rows import batches
from dovetail_audit.sealing.sealer import load_frontier, newest
from dovetail_audit.sealing.storage import audit_storage
from dovetail_audit.services.sealing import seal
from dovetail_audit.verification import rows
from dovetail_audit.verification.prove import Prover, prove_consistency
from dovetail_core.events import emit
from dovetail_core.transactions import is_conflict

logger = logging.getLogger("dovetail.audit")

_BATCH: Final = 1000
_SPOOL: Final = 10 * 1024 * 1024
#: How often, and after how many seconds, the deletion of a batch tries again to lock the table.
_ATTEMPTS: Final = 120
_PAUSE: Final = 1.0

#: Called with the number of entries that are deleted.
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Archive:
    """The file with the deleted entries: its name in the storage and its SHA-256 in hexadecimal."""

    name: str
    sha256: str


def retention_cutoff() -> datetime | None:
    """Return the time before which ``AUDIT_RETENTION`` allows deletion, or None if it keeps everything.

    Only the oldest entries can be deleted, so the longest period of all actions counts.
    """
    setting = conf.RETENTION
    periods = list(setting.values()) if isinstance(setting, Mapping) else [setting]
    days = [period for period in periods if isinstance(period, int)]
    return timezone.now() - timedelta(days=max(days)) if days and len(days) == len(periods) else None


def prune(
    *,
    before: datetime | None = None,
    archive: bool = True,
    using: str | None = None,
    progress: Progress | None = None,
) -> int:
    """Delete the entries that were sealed before a time, up to a checkpoint. Return their number.

    ``before`` is by default the limit of ``AUDIT_RETENTION``, and must not be later. The entries are first written to
    ``STORAGES[AUDIT_STORAGE]`` as JSON lines with proofs, and read back; with ``archive=False`` they are lost. The
    event ``audit.pruned`` is recorded and sealed before the first entry is deleted, so an interrupted call can be
    repeated. Deletion stops before the first entry for which ``AUDIT_HOLD`` returns True.

    Raise ``NotPruned`` if the entries do not agree with the tree, because evidence of tampering must not be deleted,
    if the archive is not what was written, or if other transactions keep the table locked for minutes. Raise
    ``ImproperlyConfigured`` without the storage.
    """
    using = using or databases.home()
    row = _last_checkpoint(_cutoff(before), using)
    start = rows.pruned_size(using)
    row = row if row is None or conf.HOLD is None else _before_hold(start, row, using)
    if row is None:
        return 0
    if row.pk > start:
        _require_intact(start, row, using)
        _record(start, row, _write_archive(start, row, using) if archive else None, using)
    return _delete(row.pk, progress)


def _cutoff(before: datetime | None) -> datetime | None:
    limit = retention_cutoff()
    if before is not None and limit is not None and before > limit:
        raise ValueError(f"AUDIT_RETENTION keeps entries from {limit:%Y-%m-%d %H:%M} on; choose an earlier time.")
    return limit if before is None else before


def _last_checkpoint(cutoff: datetime | None, using: str) -> Checkpoint | None:
    if cutoff is None:
        return None
    return Checkpoint._base_manager.using(using).filter(at__lt=cutoff).order_by("-pk").first()


def _before_hold(start: int, row: Checkpoint, using: str) -> Checkpoint | None:
    for batch in batches(_entries(start, row.pk, using)):
        for entry in batch:
            if conf.HOLD(entry):
                position = Leaf._base_manager.using(using).get(entry=entry.pk).pk
                earlier = Checkpoint._base_manager.using(using).filter(pk__lte=position)
                # Entries that were sealed late have a smaller id than their position: look again.
                before = earlier.order_by("-pk").first()
                return None if before is None else _before_hold(start, before, using)
    return row


def _entries(start: int, stop: int, using: str) -> QuerySet[Entry]:
    leaves = Leaf._base_manager.using(using).filter(entry=OuterRef("pk"), pk__gte=start, pk__lt=stop)
    return Entry._base_manager.using(using).filter(Exists(leaves))


def _require_intact(start: int, row: Checkpoint, using: str) -> None:
    _require_signed(row, using)
    for first in range(start, row.pk, _BATCH):
        if findings := rows.compare(using, first, min(first + _BATCH, row.pk)).findings:
            raise NotPruned(f"{findings[0].message} ({findings[0].entry}) Nothing was deleted. Run audit_verify.")


def _require_signed(row: Checkpoint, using: str) -> None:
    """Raise ``BrokenSeal`` unless a key of the project signed the checkpoint, or a later one that contains it."""
    try:
        load_frontier(row)
    except UnknownSigner:
        last = newest(using) or row
        proof = prove_consistency(row.pk, load_frontier(last).size, using=using)
        roots = {"first_root": bytes(row.root), "second_root": bytes(last.root)}
        try:
            proofs.verify_consistency(first_size=row.pk, second_size=last.pk, proof=proof, **roots)
        except proofs.InvalidProof as error:
            raise BrokenSeal(f"The checkpoint {row.pk} is not part of the newest one: {error}") from error


def _write_archive(start: int, row: Checkpoint, using: str) -> Archive:
    digest, count, prover = hashlib.sha256(), 0, Prover(row, using=using)
    with tempfile.SpooledTemporaryFile(_SPOOL) as file:
        for batch in batches(_entries(start, row.pk, using)):
            documents = prover.prove(batch)
            for entry in batch:
                line = json_lines.line(entry, documents[entry.pk])
                digest.update(line)
                file.write(line)
            count += len(batch)
        file.seek(0)
        name = audit_storage().save(f"archives/{start:019d}-{row.pk:019d}.jsonl", File(file))
    archive = Archive(name, digest.hexdigest())
    _read_back(archive, count, row)
    return archive


def _read_back(archive: Archive, count: int, row: Checkpoint) -> None:
    """Verify the stored file: its hash, and the proof of each line."""
    digest, lines = hashlib.sha256(), 0
    with audit_storage().open(archive.name) as file:
        for line in _lines(file):
            digest.update(line)
            lines += 1
            try:
                proofs.verify_document(json.loads(line)["proof"], size=row.pk, root=bytes(row.root))
            except (LookupError, TypeError, ValueError) as error:  # InvalidProof is a ValueError
                raise NotPruned(f"Line {lines} of the archive {archive.name} has no valid proof: {error}") from error
    if digest.hexdigest() != archive.sha256 or lines != count:
        raise NotPruned(f"The archive {archive.name} is not what was written. Nothing was deleted.")


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    # Storages open in binary mode by default; not all of them return an iterator of lines.
    while line := file.readline():
        yield line


def _record(start: int, row: Checkpoint, archive: Archive | None, using: str) -> None:
    data = {"first": start, "last": row.pk - 1, "size": row.pk, "root": bytes(row.root).hex()}
    data |= {"archive": archive and archive.name, "sha256": archive and archive.sha256}
    emit(AUDIT_PRUNED, data=data, using=using)
    if rows.pruned_size(using) < row.pk:
        raise NotPruned("The event audit.pruned was not recorded, so nothing was deleted. Check AUDIT_ON_FAILURE.")
    seal(using=using)


def _delete(size: int, progress: Progress | None) -> int:
    """Delete the entries of the leaves below ``size``, each batch in a transaction of the owner of the table."""
    owner, deleted = databases.owner(), 0
    leaves = Leaf._base_manager.using(owner).order_by("pk")
    last = _first_present(size, owner) - 1
    while batch := list(leaves.filter(pk__gt=last, pk__lt=size).values_list("pk", "entry")[:_BATCH]):
        last = batch[-1][0]
        deleted += _delete_rows(Entry._base_manager.using(owner).filter(pk__in=[entry for _position, entry in batch]))
        if progress is not None:
            progress(deleted)
    return deleted


def _first_present(size: int, using: str) -> int:
    """Return the position of the first leaf below ``size`` that has an entry, or ``size``.

    Entries are deleted in the order of their leaves, so about 30 queries find it among a thousand million.
    """
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        leaf = Leaf._base_manager.using(using).filter(pk=middle).values("entry")
        if Entry._base_manager.using(using).filter(pk__in=leaf).exists():
            high = middle
        else:
            low = middle + 1
    return low


def _delete_rows(chosen: QuerySet[Entry]) -> int:
    """Delete the rows. Raise ``NotPruned`` if writers leave no moment for it."""
    for attempt in range(_ATTEMPTS):
        try:
            with transaction.atomic(using=chosen.db), suspended(connections[chosen.db]):
                # Without signals: receivers of the project's models do not concern entries.
                return chosen._raw_delete(chosen.db)
        except OperationalError as error:
            if not is_conflict(error):
                raise
            if attempt == 0:
                logger.warning("The deletion waits for a transaction that has recorded entries and is still open.")
        # Outside the transaction: while this process waits for the lock, new writers queue behind it.
        time.sleep(_PAUSE)
    raise NotPruned(
        "Transactions that have recorded entries stayed open for too long. Nothing is lost: archive and event are "
        "complete, and the next audit_prune goes on with the deletion."
    )
