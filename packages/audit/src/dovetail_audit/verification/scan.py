"""Verify the whole log, a part of it, or one entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from dovetail_audit.entries import databases
from dovetail_audit.entries.principals import keys_of
from dovetail_audit.exceptions import BrokenSeal, UnknownSigner
from dovetail_audit.models import Checkpoint, Entry, Leaf
from dovetail_audit.proofs import InvalidProof, verify_inclusion
from dovetail_audit.reading.filters import first_id, is_key
from dovetail_audit.reading.rows import read
from dovetail_audit.sealing.merkle import Frontier, IncompleteTree, Tree, leaf_hash
from dovetail_audit.sealing.sealer import LAG, content_of, is_authentic, load_frontier, newest, unsealed
from dovetail_audit.verification import rows
from dovetail_audit.verification.findings import Finding, Kind
from dovetail_audit.verification.prove import reader
from dovetail_audit.verification.tree import Anchor, Walk, uncovered
from dovetail_audit.verification.workers import check_workers, compare_all

#: Called with the number of leaves that are verified, and of all that will be.
Progress = Callable[[int, int], None]

#: The longest time that an action between intent and outcome is expected to take.
_OPEN: Final = timedelta(hours=1)
_CHUNK: Final = 2000
_INTENTS: Final = 500


def verify(
    *,
    using: str | None = None,
    since: int | datetime | None = None,
    anchors: Sequence[str] = (),
    progress: Progress | None = None,
    workers: int = 1,
) -> Iterator[Finding]:
    """Compare all entries with the tree, and the tree with its checkpoints. Yield what does not agree.

    ``since`` starts at the last checkpoint before a number of leaves or a time, which is then trusted. ``anchors`` are
    signed notes from outside the database. Memory does not grow with the number of entries. The log may be written,
    sealed, erased and pruned meanwhile.

    With more than one of ``workers``, so many new processes compare the entries, and this one the tree. The findings
    and their order are the same. The settings must be a module (``DJANGO_SETTINGS_MODULE``).

    Raise ``ValueError`` if ``since`` names no checkpoint, an anchor cannot be compared, or ``workers`` is less than 1
    or more than 1 with an SQLite database in memory. Raise ``BrokenSeal`` if the checkpoint to start from is damaged.
    """
    using = using or databases.home()
    check_workers(using, workers)
    frontier = Frontier() if since is None else _start(using, since)
    notes = [_anchor(note, frontier.size) for note in anchors]
    last = newest(using)
    size = 0 if last is None else last.pk
    yield from _verify_sealed(using, Walk(using, frontier, size, notes), progress, workers)
    yield from uncovered(using)
    yield from _verify_unsealed(using)
    yield from _open_intents(using)


def verify_entry(key: UUID, *, using: str | None = None) -> Iterator[Finding]:
    """Compare one entry with its leaf, and the leaf with the newest checkpoint."""
    using = using or databases.home()
    yield from _verify_chosen(using, Q(pk=key))
    leaf = Leaf._base_manager.using(using).filter(entry=key).first()
    if not Entry._base_manager.using(using).filter(pk=key).exists():
        if leaf is None:
            yield Finding(Kind.MISSING, "There is neither an entry nor a leaf with this id.", key)
        else:
            yield from rows.compare(using, leaf.pk, leaf.pk + 1).findings


def verify_organization(organization: str, *, using: str | None = None) -> Iterator[Finding]:
    """Compare the entries of an organization with their leaves, and these with the newest checkpoint.

    Deleted entries are not found, because only they knew their organization.
    """
    yield from _verify_chosen(using or databases.home(), is_key("organization", keys_of(organization)))


def _verify_sealed(using: str, walk: Walk, progress: Progress | None, workers: int) -> Iterator[Finding]:
    start, erased, pruned = walk.position, 0, 0
    for result in compare_all(using, _steps(walk), workers):
        if isinstance(result, Finding):
            yield result
            continue
        compared, part = result
        yield from part.findings
        erased, pruned = erased + part.erased, pruned + part.pruned
        if progress is not None:
            progress(compared - start, walk.size - start)
    yield from _summary(using, erased, pruned, whole=start == 0)


def _steps(walk: Walk) -> Iterator[Finding | tuple[int, int]]:
    """Yield the findings of the walk, and the ranges of leaves behind it whose entries are to be compared."""
    start = walk.position
    for finding in walk.run():
        if finding is not None:
            yield finding
        while start < walk.position and (start + _CHUNK <= walk.position or walk.position == walk.size):
            stop = min(start + _CHUNK, walk.size)
            yield start, stop
            start = stop


def _summary(using: str, erased: int, pruned: int, *, whole: bool) -> Iterator[Finding]:
    if pruned:
        yield Finding(Kind.PRUNED, f"{pruned} entries were deleted by audit_prune; their leaves remain.")
    if erased:
        yield Finding(Kind.ERASED, f"The personal data of {erased} entries was erased.")
    # The attack: somebody who may erase removes the traces of himself, and no record says so.
    if whole and erased > (recorded := rows.erased_count(using)):
        message = f"The personal data of {erased} entries was erased, but recorded erasures account for {recorded}."
        yield Finding(Kind.ALTERED, message)


def _verify_unsealed(using: str) -> Iterator[Finding]:
    limit, last = timezone.now() - LAG, None
    while True:
        entries = unsealed(using).order_by("pk")
        chunk = read((entries if last is None else entries.filter(pk__gt=last))[:_CHUNK])
        yield from map(rows.unreadable, chunk.unreadable)
        for entry in chunk.entries:
            if finding := _unsealed_finding(entry, limit):
                yield finding
        keys = [*(entry.pk for entry in chunk.entries), *chunk.unreadable]
        if len(keys) < _CHUNK:
            return
        last = max(keys)


def _unsealed_finding(entry: Entry, limit: datetime) -> Finding | None:
    if (content := content_of(entry)) is None:
        return rows.unreadable(entry.pk)
    if not is_authentic(entry, content):
        message = "The entry was inserted or changed by somebody without the secret keys of the project."
        return Finding(Kind.MAC_INVALID, message, entry.pk)
    if problem := rows.personal_problem(entry):
        return Finding(Kind.ALTERED, problem, entry.pk)
    if entry.at < limit:
        return Finding(
            Kind.UNSEALED, "The entry is not sealed after ten minutes. Run manage.py audit_seal --all.", entry.pk
        )
    return None


def _open_intents(using: str) -> Iterator[Finding]:
    entries = Entry._base_manager.using(using)
    limit = timezone.now() - _OPEN
    intents = entries.filter(outcome=Entry.Outcome.INTENT, at__lt=limit, pk__lt=first_id(limit + _OPEN)).order_by("pk")
    # Without the other columns, of which a tampered one could not be read.
    pairs, last = intents.values_list("pk", "action"), None
    while batch := dict((pairs if last is None else pairs.filter(pk__gt=last))[:_INTENTS]):
        last = max(batch)
        # Most outcomes follow within the hour. Only the others are searched for in the rest of the log.
        ended = _outcomes(entries.filter(pk__lt=first_id(_time_of(last) + _OPEN)), batch)
        rest = {key: action for key, action in batch.items() if key not in ended}
        ended |= _outcomes(entries, rest) if rest else set()
        for key in sorted(batch.keys() - ended):
            message = f"{batch[key]} was attempted, and no outcome is recorded."
            yield Finding(Kind.INTENT_OPEN, message, key)


def _outcomes(entries: QuerySet[Entry], intents: Mapping[UUID, str]) -> set[UUID]:
    """Return those intents, given with their actions, whose outcome is among the entries."""
    chosen = entries.filter(
        action__in=set(intents.values()), pk__gt=min(intents), data__extra__intent__in=[str(key) for key in intents]
    )
    return {UUID(text) for text in chosen.values_list("data__extra__intent", flat=True)}


def _time_of(key: UUID) -> datetime:
    """Return the time of a UUIDv7."""
    return datetime.fromtimestamp((key.int >> 80) / 1000, UTC)


def _verify_chosen(using: str, condition: Q) -> Iterator[Finding]:
    last = newest(using)
    size = 0 if last is None else last.pk
    tree, limit, after = Tree(reader(using)), timezone.now() - LAG, None
    chosen = Entry._base_manager.using(using).filter(condition).order_by("pk")
    if last is not None:
        try:
            load_frontier(last)
        except UnknownSigner as error:
            yield Finding(Kind.KEY_UNKNOWN, str(error), position=size - 1)
        except BrokenSeal as error:
            yield Finding(Kind.SIGNATURE_INVALID, str(error), position=size - 1)
    while True:
        chunk = read((chosen if after is None else chosen.filter(pk__gt=after))[:_CHUNK])
        keys = [*(entry.pk for entry in chunk.entries), *chunk.unreadable]
        if not keys:
            return
        after = max(keys)
        leaves = Leaf._base_manager.using(using).filter(entry__in=keys)
        found = {leaf.entry: leaf for leaf in leaves}
        yield from map(rows.unreadable, chunk.unreadable)
        for entry in chunk.entries:
            leaf = found.get(entry.pk)
            if leaf is None or leaf.pk >= size:
                finding = _unsealed_finding(entry, limit)
            else:
                finding = _sealed_finding(entry, leaf, tree, last)
            if finding is not None:
                yield finding


def _sealed_finding(entry: Entry, leaf: Leaf, tree: Tree, last: Checkpoint | None) -> Finding | None:
    if (content := content_of(entry)) is None:
        return rows.unreadable(entry.pk, leaf.pk)
    digest = leaf_hash(content, bytes(entry.mac))
    if digest != bytes(leaf.hash):
        return Finding(Kind.ALTERED, "The entry or its leaf was changed.", entry.pk, leaf.pk)
    if problem := rows.personal_problem(entry):
        return Finding(Kind.ALTERED, problem, entry.pk, leaf.pk)
    if last is None:
        return None
    try:
        proof = tree.inclusion(leaf.pk, last.pk)
        verify_inclusion(leaf=digest, index=leaf.pk, size=last.pk, proof=proof, root=bytes(last.root))
    except (IncompleteTree, InvalidProof) as error:
        return Finding(Kind.ROOT_MISMATCH, str(error), entry.pk, leaf.pk)
    return None


def _start(using: str, since: int | datetime) -> Frontier:
    condition = Q(pk__lte=since) if isinstance(since, int) else Q(at__lte=since)
    row = Checkpoint._base_manager.using(using).filter(condition).order_by("-pk").first()
    if row is None:
        raise ValueError(f"There is no checkpoint at or before {since}. Verify the whole log.")
    return load_frontier(row)


def _anchor(note: str, start: int) -> Anchor:
    anchor = Anchor(note)
    if anchor.pk < start:
        raise ValueError(f"The anchor covers {anchor.pk} leaves, and verification starts at {start}. Start earlier.")
    return anchor
