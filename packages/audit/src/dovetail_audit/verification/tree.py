"""Compare the leaves with the signed checkpoints, with the tiles, and with checkpoints from outside the database."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from typing import Final
from uuid import UUID

from django.db.models import Count, Max

from dovetail_audit.conf import conf
from dovetail_audit.exceptions import BrokenSeal
from dovetail_audit.models import Checkpoint, Entry, Leaf, Tile
from dovetail_audit.reading.rows import read
from dovetail_audit.sealing import checkpoints
from dovetail_audit.sealing.merkle import Frontier, blocks
from dovetail_audit.sealing.sealer import content_of, is_authentic, load_frontier
from dovetail_audit.verification.findings import Finding, Kind

_CHUNK: Final = 2000
#: Leaves between two checkpoints that are kept, to name those that were moved. The sealer makes one every 2000.
_NAMED: Final = 100_000

_Leaf = tuple[int, UUID, bytes]


class Anchor:
    """A checkpoint from outside the database. The constructor raises ``InvalidSignature`` or ``UnknownKey``."""

    def __init__(self, note: str) -> None:
        self.checkpoint = checkpoints.verify(note)
        self.pk = self.checkpoint.size


class Walk:
    """Append the leaves to ``frontier`` in order up to ``size``, and compare the root at each checkpoint and anchor."""

    def __init__(self, using: str, frontier: Frontier, size: int, anchors: Iterable[Anchor] = ()) -> None:
        self._using = using
        self._frontier = frontier
        self._start, self.size = frontier.size, size
        self._anchors = sorted(anchors, key=lambda anchor: anchor.pk)
        self._leaves = _leaves(using, self._start, size)
        self._waiting: _Leaf | None = None
        #: The number of leaves that are compared.
        self.position = self._start
        #: Whether all leaves since a valid checkpoint were there.
        self._complete = True
        self._signed = False
        #: The newest checkpoint of an unknown key that no later checkpoint covers, and the number of all such.
        self._unknown: tuple[int, str] | None = None
        self._unknown_count = 0
        self._recent: list[tuple[int, UUID]] = []
        self._tiles: list[tuple[int, int, bytes]] = []

    def run(self) -> Iterator[Finding | None]:
        """Yield the findings, and None after each checkpoint."""
        rows: Iterator[Checkpoint | Anchor] = _checkpoints(self._using, self._start, self.size)
        for target in merge(rows, self._anchors, key=lambda target: target.pk):
            if target.pk > self.size:
                message = f"The anchor covers {target.pk} leaves; the log has only {self.size}: it was truncated."
                yield Finding(Kind.ANCHOR_INCONSISTENT, message)
                continue
            yield from self._advance(target.pk)
            if isinstance(target, Anchor):
                yield from self._compare_anchor(target)
            else:
                yield from self._compare(target)
            if len(self._tiles) >= _CHUNK:
                yield from self._compare_tiles()
            self.position = target.pk
            yield None
        yield from self._report_unknown()
        yield from self._compare_tiles()
        yield from _extra_tiles(self._using)

    def _advance(self, size: int) -> Iterator[Finding]:
        """Append the leaves below ``size``. Report those that are missing."""
        expected = self._recent[-1][0] + 1 if self._recent else self._frontier.size
        while leaf := self._waiting or next(self._leaves, None):
            position, entry, digest = self._waiting = leaf
            if position >= size:
                break
            self._waiting = None
            if position != expected:
                yield from self._gap(expected, position)
            expected = position + 1
            if self._complete:
                self._tiles += self._frontier.append(digest)
            if len(self._recent) == _NAMED:
                self._recent.clear()
            self._recent.append((position, entry))
        if expected < size:
            yield from self._gap(expected, size)

    def _gap(self, start: int, stop: int) -> Iterator[Finding]:
        self._complete = False
        yield from self._report_unknown()
        for position in range(start, stop):
            yield Finding(Kind.MISSING, "The leaf was deleted.", position=position)

    def _compare_anchor(self, anchor: Anchor) -> Iterator[Finding]:
        if not self._complete or self._frontier.root() != anchor.checkpoint.root:
            message = f"The log of the anchor had another root at {anchor.pk} leaves: the log was rewritten."
            yield Finding(Kind.ANCHOR_INCONSISTENT, message, position=anchor.pk - 1)

    def _compare(self, row: Checkpoint) -> Iterator[Finding]:
        yield from self._check_signature(row)
        try:
            stored = load_frontier(row)
        except BrokenSeal:
            stored = None  # reported with the signature
        if self._complete and self._frontier.root() != (bytes(row.root) if stored is None else stored.root()):
            yield from self._report_unknown()
            yield from self._name()
            message = f"The first {row.pk} leaves do not have the root of the checkpoint."
            yield Finding(Kind.ROOT_MISMATCH, message, position=row.pk - 1)
        # After a mismatch, the leaves behind this checkpoint are compared on their own.
        if stored is not None:
            # If nothing was reported since, its root covers the leaves of the checkpoints with unknown keys too.
            self._unknown, self._unknown_count = None, 0
            self._frontier, self._complete = stored, True
            self._recent.clear()

    def _report_unknown(self) -> Iterator[Finding]:
        if self._unknown is not None:
            position, message = self._unknown
            if self._unknown_count > 1:
                message += f" {self._unknown_count - 1} earlier checkpoints have unknown keys too."
            yield Finding(Kind.KEY_UNKNOWN, message, position=position)
        self._unknown, self._unknown_count = None, 0

    def _check_signature(self, row: Checkpoint) -> Iterator[Finding]:
        last = row.pk - 1
        unknown = False
        try:
            signed = checkpoints.verify(row.signature)
        except checkpoints.UnknownKey as error:
            # Reported later, unless a checkpoint that can be verified follows: after a rotation of SECRET_KEY.
            self._unknown, unknown, signed = (last, str(error)), True, error.checkpoint
            self._unknown_count += 1
        except checkpoints.InvalidSignature as error:
            yield Finding(Kind.SIGNATURE_INVALID, str(error), position=last)
            return
        if (signed.size, signed.root, signed.at) != (row.pk, bytes(row.root), checkpoints.rfc3339(row.at)):
            message = "The columns of the checkpoint differ from its signed note."
            yield Finding(Kind.SIGNATURE_INVALID, message, position=last)
        elif not _has_frontier(row):
            message = "The frontier of the checkpoint differs from its signed root."
            yield Finding(Kind.SIGNATURE_INVALID, message, position=last)
        if unknown:
            return
        # The attack: somebody has the secret keys of the project, but not the signing key, and rewrites the log.
        with_key = checkpoints.is_signed(row.signature)
        if not with_key and (self._signed or (row.pk == self.size and bool(conf.VERIFYING_KEYS))):
            message = "The checkpoint has no signature of a signing key, although the log is signed."
            yield Finding(Kind.SIGNATURE_INVALID, message, position=last)
        self._signed = self._signed or with_key

    def _name(self) -> Iterator[Finding]:
        """Name the entries since the last checkpoint that were moved, or were changed together with their leaf."""
        for position, entry in _moved(self._recent):
            yield Finding(Kind.REORDERED, "The leaf is not in the order of the sealer.", entry, position)
        forged = []
        for start in range(0, len(self._recent), _CHUNK):
            positions = {entry: position for position, entry in self._recent[start : start + _CHUNK]}
            chunk = read(Entry._base_manager.using(self._using).filter(pk__in=list(positions)).order_by("pk"))
            # Rows that cannot be read are reported by the comparison with their leaves.
            contents = [(row, content) for row in chunk.entries if (content := content_of(row)) is not None]
            forged += [(row.pk, positions[row.pk]) for row, content in contents if not is_authentic(row, content)]
        # If all are, the key with which they were written is no longer accepted.
        if len(forged) < max(len(self._recent), 2):
            for entry, position in forged:
                yield Finding(Kind.ALTERED, "The entry and its leaf were changed.", entry, position)

    def _compare_tiles(self) -> Iterator[Finding]:
        for level in sorted({level for level, _index, _digest in self._tiles}):
            expected = {index: digest for other, index, digest in self._tiles if other == level}
            rows = Tile._base_manager.using(self._using).filter(level=level, index__in=list(expected))
            stored = {index: bytes(digest) for index, digest in rows.values_list("index", "hash")}
            for index in sorted(expected):
                if stored.get(index) != expected[index]:
                    state = "was changed" if index in stored else "was deleted"
                    message = f"The tile {index} of level {level}, from which proofs are made, {state}."
                    yield Finding(Kind.ROOT_MISMATCH, message, position=((index + 1) << (8 * level)) - 1)
        self._tiles.clear()


def uncovered(using: str) -> Iterator[Finding]:
    """Report leaves behind the newest checkpoint. The sealer writes both in one transaction."""
    # The leaf is read first: what is sealed between the two queries is covered then.
    last = Leaf._base_manager.using(using).order_by("-pk").values_list("pk", flat=True).first()
    newest = Checkpoint._base_manager.using(using).order_by("-pk").values_list("pk", flat=True).first() or 0
    if last is not None and last >= newest:
        message = f"The leaves {newest} to {last} are in no checkpoint: they were added, or checkpoints were deleted."
        yield Finding(Kind.ROOT_MISMATCH, message, position=newest)


def _leaves(using: str, start: int, size: int) -> Iterator[_Leaf]:
    rows = Leaf._base_manager.using(using).order_by("pk").values_list("pk", "entry", "hash")
    last = start - 1
    while chunk := list(rows.filter(pk__gt=last, pk__lt=size)[:_CHUNK]):
        yield from ((position, entry, bytes(digest)) for position, entry, digest in chunk)
        last = chunk[-1][0]


def _checkpoints(using: str, start: int, size: int) -> Iterator[Checkpoint]:
    rows = Checkpoint._base_manager.using(using).order_by("pk")
    last = start
    while chunk := list(rows.filter(pk__gt=last, pk__lte=size)[:_CHUNK]):
        yield from chunk
        last = chunk[-1].pk


def _has_frontier(row: Checkpoint) -> bool:
    try:
        return Frontier.load(row.pk, bytes(row.frontier)).root() == bytes(row.root)
    except ValueError:
        return False


def _extra_tiles(using: str) -> Iterator[Finding]:
    # The tiles are read first, as in uncovered().
    counts = Tile._base_manager.using(using).values("level").annotate(last=Max("index"), number=Count("pk"))
    stored = {row["level"]: (row["last"], row["number"]) for row in counts.order_by("level")}
    newest = Checkpoint._base_manager.using(using).order_by("-pk").values_list("pk", flat=True).first() or 0
    complete = dict(blocks(newest))
    for level, (last, number) in stored.items():
        if last >= complete.get(level, 0) or number > complete.get(level, 0):
            yield Finding(Kind.ROOT_MISMATCH, f"Tiles of level {level} were added that the sealer did not write.")


def _moved(rows: Sequence[tuple[int, UUID]]) -> list[tuple[int, UUID]]:
    """Return the rows that must be taken out so that the ids of the others ascend (the fewest).

    The sealer appends the entries of one checkpoint in the order of their ids.
    """
    ends: list[UUID] = []
    lengths: list[int] = []
    for _position, entry in rows:
        length = bisect_left(ends, entry)
        ends[length : length + 1] = [entry]
        lengths.append(length)
    moved, length = [], len(ends) - 1
    for row, own in zip(reversed(rows), reversed(lengths), strict=True):
        if own == length:
            length -= 1
        else:
            moved.append(row)
    return moved[::-1]
