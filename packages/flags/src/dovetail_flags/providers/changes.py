"""Changes of flags that are not committed yet.

Each transaction sees its own changes at once, and no other thread does. A :class:`Change` is a hook that runs after
commit, so Django drops it with its savepoint or transaction, and with it the flags that were read in between.
"""

from __future__ import annotations

from typing import Any
from weakref import ref

from django.db import IntegrityError, connections, transaction
from django.dispatch import Signal

from dovetail_core.models import uuid7
from dovetail_flags.models import FlagSet

#: Sent after the commit of a change, with the database alias ``using``. The sender is :class:`Change`, or another class
#: if only this process needs to read the flags again.
flags_changed = Signal()

# References to all open changes. An evaluation outside of such transactions asks only whether it is empty (20 ns).
_open: set[ref[Change]] = set()


class Change:
    """A hook that runs after commit. ``snapshot`` holds the flags as this transaction has changed them."""

    __slots__ = ("__weakref__", "savepoints", "snapshot", "using")

    def __init__(self, using: str, savepoints: tuple[Any, ...]) -> None:
        self.using = using
        self.savepoints = savepoints
        self.snapshot: Any = None
        _open.add(ref(self, _open.discard))

    def __call__(self) -> None:
        flags_changed.send(sender=Change, using=self.using)


def are_open() -> bool:
    return bool(_open)


def own_change(using: str) -> Change | None:
    """Return the latest change in the transaction of this thread."""
    for _, function, *_ in reversed(connections[using].run_on_commit):
        if isinstance(function, Change):
            return function
    return None


def record_change(using: str) -> None:
    """Give the set of flags a new token, and read the flags again: in this transaction now, elsewhere after commit."""
    _new_token(using)
    connection = connections[using]
    savepoints = tuple(connection.savepoint_ids) if connection.in_atomic_block else ()
    change = own_change(using)
    if change is not None and change.savepoints == savepoints:
        # Both are rolled back together, so one hook is enough for the thousand changes of an import.
        change.snapshot = None
    else:
        transaction.on_commit(Change(using, savepoints), using=using)


def _new_token(using: str) -> None:
    rows = FlagSet._base_manager.using(using)
    if rows.filter(pk=1).update(token=uuid7()):
        return
    try:
        with transaction.atomic(using=using):
            rows.create(pk=1)
    except IntegrityError:  # of two first changes
        rows.filter(pk=1).update(token=uuid7())
