"""Append the entries that are not sealed yet to the Merkle tree, in batches that are one transaction each.

Entries are found by a window of ids (UUIDv7 begin with the time) without a leaf. Two other orders were tried: all ids
up to the largest miss the entry of a transaction that commits late, and PostgreSQL's transaction horizon stops at any
long transaction of the server, of any database. An entry that commits after the window gets its leaf in a later pass.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, cast
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from dovetail_audit import proofs
from dovetail_audit.conf import conf
from dovetail_audit.entries.canonical import canonical, macs
from dovetail_audit.exceptions import BrokenSeal, UnknownSigner
from dovetail_audit.models import PERSONAL, Checkpoint, Entry, Leaf, Seal, Tile
from dovetail_audit.reading.filters import first_id
from dovetail_audit.reading.rows import read
from dovetail_audit.sealing import checkpoints
from dovetail_audit.sealing.merkle import Frontier, leaf_hash
from dovetail_core.transactions import Vanished, lock, retry_on_conflict

logger = logging.getLogger("dovetail.audit")

#: Entries of one transaction. The lock on the seal and the memory of a pass depend on it, not on the backlog.
BATCH: Final = 2000
#: An entry is normally sealed within seconds. After this time, checks, health and verification report it.
LAG: Final = timedelta(minutes=10)
_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)


def seal_all(*, using: str, everything: bool = False, trusted: bytes | None = None) -> Checkpoint | None:
    """Seal the entries of the window, or of the whole table, and return the newest checkpoint.

    ``trusted`` is the root of the newest checkpoint, if the caller has compared it with the leaves because its
    signature cannot be verified.
    """
    after = None if everything else _window(using)
    after, rejected = _seal_batch(after, using=using, trusted=trusted)
    while after is not None:
        after, wrong = _seal_batch(after, using=using, trusted=trusted)
        rejected += wrong
    if rejected:
        logger.error(
            "%d entries were not sealed, because their authentication code is wrong. Run manage.py audit_verify. If "
            "this process has other values of SECRET_KEY or DOVETAIL_SECRET_PEPPERS than the writers, correct them.",
            rejected,
        )
    return newest(using)


def unsealed(using: str) -> QuerySet[Entry]:
    """Return the entries without a leaf."""
    leaves = Leaf._base_manager.using(using).filter(entry=OuterRef("pk"))
    return Entry._base_manager.using(using).filter(~Exists(leaves))


def light(rows: QuerySet[Entry], *, without: Collection[str] = ()) -> Iterable[Entry]:
    """Return the rows as named tuples with the columns of an entry, which take a third of the time of instances."""
    # Once, as "pk": some databases return UUIDs as text, and converting it takes as long as a short JSON document.
    names = [field.attname for field in Entry._meta.concrete_fields if field.attname not in {*without, "id"}]
    return cast("Iterable[Entry]", rows.values_list("pk", *names, named=True))


def _without_personal(rows: QuerySet[Entry]) -> Iterable[Entry]:
    return light(rows, without=PERSONAL)


def content_of(entry: Entry) -> bytes | None:
    """Return the canonical form of a row, or None if a column holds a value of another type, which nobody wrote."""
    try:
        bytes(entry.mac)
        return canonical(entry)
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        return None


def newest(using: str) -> Checkpoint | None:
    return Checkpoint._base_manager.using(using).order_by("-pk").first()


def lag(using: str) -> timedelta:
    """Return the age of the oldest entry that the sealer should have sealed, or zero."""
    last = newest(using)
    rows = unsealed(using).order_by("pk")
    if last is not None:
        rows = rows.filter(pk__gt=first_id(last.at - timedelta(seconds=conf.SEAL_OVERLAP)))
    at = rows.values_list("at", flat=True).first()
    return timedelta() if at is None else max(timezone.now() - at, timedelta())


def is_authentic(entry: Entry, content: bytes) -> bool:
    """Return whether the project wrote the entry, with one of its accepted keys. ``content`` is its canonical form."""
    return any(hmac.compare_digest(bytes(entry.mac), mac) for mac in macs(entry, content))


def _window(using: str) -> UUID | None:
    """Return the id after which a pass looks, or None for all."""
    last = newest(using)
    if last is None:
        return None
    now = timezone.now()
    start = min(now, last.at) - timedelta(seconds=conf.SEAL_OVERLAP)
    with transaction.atomic(using=using):
        seal = lock_seal(using)
        # Once an hour, for transactions that stayed open for longer than the overlap.
        if seal.day_at is None or not now - _HOUR < seal.day_at <= now:
            start = min(start, now - _DAY)
            Seal._base_manager.using(using).filter(pk=seal.pk).update(day_at=now)
    return first_id(start)


@retry_on_conflict
def _seal_batch(after: UUID | None, *, using: str, trusted: bytes | None = None) -> tuple[UUID | None, int]:
    """Seal a batch of the entries after an id. Return the id of the last if more follow, and how many were rejected."""
    with transaction.atomic(using=using):
        # A second sealer waits here, and then sees the leaves of the first.
        lock_seal(using)
        rows = unsealed(using).order_by("pk")
        chunk = read((rows if after is None else rows.filter(pk__gt=after))[:BATCH], _without_personal)
        leaves = []
        for entry in chunk.entries:
            content = content_of(entry)
            # An entry that somebody else has inserted must not get a proof.
            if content is not None and is_authentic(entry, content):
                leaves.append((entry.pk, leaf_hash(content, bytes(entry.mac))))
        if leaves:
            _append(leaves, using, trusted)
    keys = [*(entry.pk for entry in chunk.entries), *chunk.unreadable]
    return (max(keys) if len(keys) == BATCH else None), len(keys) - len(leaves)


def _append(leaves: Sequence[tuple[UUID, bytes]], using: str, trusted: bytes | None) -> None:
    frontier, before = _resume(using, trusted)
    start = frontier.size
    tiles = [tile for _entry, digest in leaves for tile in frontier.append(digest)]
    Leaf._base_manager.using(using).bulk_create(
        [Leaf(position=start + number, entry=entry, hash=digest) for number, (entry, digest) in enumerate(leaves)]
    )
    Tile._base_manager.using(using).bulk_create(
        [Tile(level=level, index=index, hash=digest) for level, index, digest in tiles]
    )
    # The clock may go back.
    at = timezone.now() if before is None else max(timezone.now(), before)
    root = frontier.root()
    note = checkpoints.sign(size=frontier.size, root=root, at=at)
    row = Checkpoint(size=frontier.size, root=root, at=at, frontier=frontier.dump(), signature=note)
    row.save(using=using, force_insert=True)


def _resume(using: str, trusted: bytes | None) -> tuple[Frontier, datetime | None]:
    """Return the frontier of the newest checkpoint and its time.

    Raise ``BrokenSeal`` if the checkpoint was changed or its key is unknown: a new signature must not cover an old
    forgery.
    """
    last = newest(using)
    position = Leaf._base_manager.using(using).order_by("-pk").values_list("pk", flat=True).first()
    size = 0 if last is None else last.pk
    if (-1 if position is None else position) != size - 1:
        raise BrokenSeal(f"The newest checkpoint covers {size} leaves, but the last leaf has the position {position}.")
    if last is None:
        return Frontier(), None
    return load_frontier(last, trusted), last.at


def load_frontier(row: Checkpoint, trusted: bytes | None = None) -> Frontier:
    """Return the frontier of a checkpoint. Raise ``BrokenSeal`` if it or the row contradicts the signed note.

    ``UnknownSigner`` is raised for a key that the project does not have, unless the root is ``trusted``.
    """
    try:
        signed = _signed(row, trusted)
        frontier = Frontier.load(row.pk, bytes(row.frontier))
    except checkpoints.UnknownKey as error:
        raise UnknownSigner(f"The checkpoint {row.pk} cannot be verified: {error}") from error
    except (checkpoints.InvalidSignature, ValueError) as error:
        raise BrokenSeal(f"The checkpoint {row.pk} cannot be verified: {error}") from error
    if signed.size != row.pk or not signed.root == bytes(row.root) == frontier.root():
        raise BrokenSeal(f"The columns of the checkpoint {row.pk} differ from its signed note.")
    return frontier


def _signed(row: Checkpoint, trusted: bytes | None) -> proofs.Checkpoint:
    try:
        return checkpoints.verify(row.signature)
    except checkpoints.UnknownKey as error:
        if error.checkpoint.root != trusted:
            raise
        return error.checkpoint


def lock_seal(using: str) -> Seal:
    rows = Seal._base_manager.using(using).filter(pk=1)
    try:
        return lock(rows)
    except Vanished:
        Seal._base_manager.using(using).bulk_create([Seal(pk=1)], ignore_conflicts=True)
        return lock(rows)
