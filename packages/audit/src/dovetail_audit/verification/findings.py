"""What verification reports."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID


class Kind(enum.StrEnum):
    """The kinds of findings, and what each one shows."""

    #: The entry, its personal data or its leaf was changed after it was sealed.
    ALTERED = "altered"
    #: Nobody with the secret keys of the project wrote this entry, which is not sealed.
    MAC_INVALID = "mac_invalid"
    #: The checkpoint was signed by a key that is not configured.
    KEY_UNKNOWN = "key_unknown"
    #: A sealed entry or a leaf was deleted.
    MISSING = "missing"
    #: The entry is older than ten minutes and not sealed: the sealer does not run, or a transaction was long.
    UNSEALED = "unsealed"
    #: Two leaves were exchanged.
    REORDERED = "reordered"
    #: The leaves do not have the root that was signed.
    ROOT_MISMATCH = "root_mismatch"
    #: A checkpoint was changed, or is less well signed than earlier ones.
    SIGNATURE_INVALID = "signature_invalid"
    #: A checkpoint that was stored outside the database is not part of this log.
    ANCHOR_INCONSISTENT = "anchor_inconsistent"
    #: ``attempt()`` recorded an intent, and no outcome: the process ended in between.
    INTENT_OPEN = "intent_open"
    #: Personal data was erased (once for all entries).
    ERASED = "erased"
    #: The oldest entries were deleted by ``audit_prune`` (once for all entries).
    PRUNED = "pruned"


TAMPERING: Final = frozenset(
    {
        Kind.ALTERED,
        Kind.MAC_INVALID,
        Kind.MISSING,
        Kind.REORDERED,
        Kind.ROOT_MISMATCH,
        Kind.SIGNATURE_INVALID,
        Kind.ANCHOR_INCONSISTENT,
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding with the id of its entry and the position of its leaf, where there is one."""

    kind: Kind
    message: str
    entry: UUID | None = None
    position: int | None = None

    def as_dict(self) -> dict[str, Any]:
        entry = None if self.entry is None else str(self.entry)
        return {"kind": str(self.kind), "entry": entry, "position": self.position, "message": self.message}


def exit_status(kinds: Iterable[Kind]) -> int:
    """Return 1 for tampering, else 2 if something cannot be verified, else 3 for unsealed entries, else 0."""
    kinds = set(kinds)
    if kinds & TAMPERING:
        return 1
    if Kind.KEY_UNKNOWN in kinds:
        return 2
    return 3 if Kind.UNSEALED in kinds else 0
