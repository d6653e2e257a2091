"""Compare entries with their leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from dovetail_audit.entries.canonical import canonical, commit, personal_of
from dovetail_audit.events import AUDIT_PRUNED, AUDIT_SUBJECT_ERASED
from dovetail_audit.models import Entry, Leaf
from dovetail_audit.reading.rows import read
from dovetail_audit.sealing.merkle import leaf_hash
from dovetail_audit.sealing.sealer import content_of, is_authentic, light
from dovetail_audit.verification.findings import Finding, Kind


@dataclass(slots=True)
class Range:
    """The result for a range of leaves."""

    findings: list[Finding] = field(default_factory=list)
    erased: int = 0
    pruned: int = 0


def compare(using: str, start: int, stop: int) -> Range:
    """Compare the leaves ``start`` to ``stop`` with their entries."""
    result = Range()
    rows = Leaf._base_manager.using(using).filter(pk__gte=start, pk__lt=stop).order_by("pk")
    leaves = {entry: (position, bytes(digest)) for position, entry, digest in rows.values_list("pk", "entry", "hash")}
    chosen = Entry._base_manager.using(using).filter(pk__in=list(leaves)).order_by()
    chunk = read(chosen, light)
    hashes: dict[UUID, bytes] = {}
    for entry in chunk.entries:
        position, digest = leaves[entry.pk]
        result.erased += entry.erased_at is not None
        if (content := content_of(entry)) is None:
            result.findings.append(unreadable(entry.pk, position))
            continue
        hashes[entry.pk] = leaf_hash(content, bytes(entry.mac))
        if hashes[entry.pk] != digest:
            result.findings.append(_altered(entry, position))
        elif problem := personal_problem(entry):
            result.findings.append(Finding(Kind.ALTERED, problem, entry.pk, position))
    result.findings += [unreadable(key, leaves[key][0]) for key in chunk.unreadable]
    present = {entry.pk for entry in chunk.entries}.union(chunk.unreadable)
    if len(present) < len(leaves):
        _add_missing(result, using, {entry: leaf for entry, (leaf, _digest) in leaves.items() if entry not in present})
    if result.findings:
        result.findings = list(_exchanged(result.findings, leaves, hashes))
    return result


def unreadable(key: UUID, position: int | None = None) -> Finding:
    message = "The entry was changed: a column holds a value of another type."
    return Finding(Kind.ALTERED, message, key, position)


def personal_problem(entry: Entry) -> str | None:
    """Return what is wrong with the personal columns of the entry, or None."""
    try:
        return _personal_problem(entry)
    except (TypeError, ValueError):
        return "The personal data was changed: a column holds a value of another type."


def _personal_problem(entry: Entry) -> str | None:
    personal = personal_of(entry)
    if entry.salt is None:
        if any(value is not None for value in personal.values()):
            return "The personal data was changed: it is present without its salt."
        return None if entry.erased_at is not None else "The personal data was removed, but not by an erasure."
    if commit(personal, bytes(entry.salt)) != bytes(entry.commitment):
        return "The personal data was changed."
    return None if entry.erased_at is None else "The entry is marked as erased, but has personal data."


def pruned_size(using: str) -> int:
    """Return how many of the oldest leaves have no entries, as the newest authentic ``audit.pruned`` says."""
    return next((int(data["size"]) for data in _authentic(using, AUDIT_PRUNED) if "size" in data), 0)


def erased_count(using: str) -> int:
    """Return how many entries were erased, as the authentic ``audit.subject_erased`` say."""
    return sum(int(data.get("count", 0)) for data in _authentic(using, AUDIT_SUBJECT_ERASED))


def event_data(entry: Entry) -> dict[str, Any]:
    """Return the data of the domain event that the entry records."""
    return {**(entry.data.get("extra") or {}), **(entry.data.get("parameters") or {})}


def _authentic(using: str, action: str) -> Iterator[dict[str, Any]]:
    rows = Entry._base_manager.using(using).filter(action=action, outcome=Entry.Outcome.SUCCESS).order_by("-pk")
    for entry in read(rows).entries:
        leaf = Leaf._base_manager.using(using).filter(entry=entry.pk).first()
        content = content_of(entry)
        if content is None:
            continue
        if is_authentic(entry, content) if leaf is None else leaf_hash(content, bytes(entry.mac)) == bytes(leaf.hash):
            yield event_data(entry)


def _altered(entry: Entry, position: int) -> Finding:
    changed = "Its leaf was changed." if is_authentic(entry, canonical(entry)) else "The entry was changed."
    return Finding(Kind.ALTERED, changed, entry.pk, position)


def _add_missing(result: Range, using: str, missing: dict[UUID, int]) -> None:
    # Read again for each range: the entries may have been pruned a moment ago.
    pruned = pruned_size(using)
    for entry, position in missing.items():
        if position < pruned:
            result.pruned += 1
        else:
            result.findings.append(Finding(Kind.MISSING, "The entry was deleted.", entry, position))


def _exchanged(
    findings: list[Finding], leaves: dict[UUID, tuple[int, bytes]], hashes: dict[UUID, bytes]
) -> Iterator[Finding]:
    """Report entries whose hash stands in another leaf as reordered."""
    places = {digest: position for position, digest in leaves.values()}
    for finding in findings:
        place = None if finding.entry is None else places.get(hashes.get(finding.entry, b""))
        if finding.kind == Kind.ALTERED and place is not None and place != finding.position:
            message = f"The leaf of the entry was exchanged: its hash is in leaf {place}."
            finding = Finding(Kind.REORDERED, message, finding.entry, finding.position)
        yield finding
