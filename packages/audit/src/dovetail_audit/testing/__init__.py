"""Helpers for your own tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.db import connections

from dovetail_audit.entries import databases, principals, refusals
from dovetail_audit.models import Entry, Leaf
from dovetail_audit.protection import triggers
from dovetail_core.models import uuid7

__all__ = ["append_only", "assert_recorded", "recorded", "reset_denial_limits", "tamper"]

_PROTECTED: Final = (Entry, Leaf)


@contextmanager
def recorded() -> Iterator[list[Entry]]:
    """Yield a list that holds, after the block, the entries that this process wrote in it, oldest first."""
    entries: list[Entry] = []
    # UUIDs of one process are strictly increasing.
    first = uuid7()
    yield entries
    entries += Entry.objects.using(databases.home()).filter(pk__gt=first).order_by("pk")


def assert_recorded(action: str, *, target: object = None, actor: object = None, **columns: Any) -> Entry:
    """Return the newest entry with this action, target, actor and columns. Raise ``AssertionError`` if there is none.

    ``target`` is a model instance, a pair of kind and key, or a key; ``actor`` an instance or a key. ``columns`` are
    fields of ``Entry``, such as ``outcome="denied"``.
    """
    conditions: dict[str, Any] = {"action": action, **columns}
    if target is not None:
        kind, conditions["target"], _ = principals.target_of(target)
        conditions |= {"target_kind": kind} if kind else {}
    if actor is not None:
        conditions["actor"] = principals.key_of(actor)
    entries = Entry.objects.using(databases.home()).order_by("-pk")
    entry: Entry | None = entries.filter(**conditions).first()
    if entry is None:
        newest = "\n".join(
            f"  {row.action} {row.outcome}, target {row.target_kind} {row.target}, actor {row.actor_kind} {row.actor}"
            for row in entries[:20]
        )
        raise AssertionError(f"No entry has {conditions}. The newest entries are:\n{newest or '  none'}")
    return entry


@contextmanager
def append_only() -> Iterator[None]:
    """Install the triggers of production inside the block. The test runner's databases have none.

    MariaDB and MySQL commit the transaction of a ``TestCase`` when triggers are created; use ``TransactionTestCase``.
    """
    connection = connections[databases.home()]
    for model in _PROTECTED:
        triggers.install(connection, model)
    try:
        yield
    finally:
        _remove(connection)


def tamper(entry: Entry, **columns: Any) -> None:
    """Change columns of an entry as somebody who owns the table can, or delete it if there are no columns."""
    connection = connections[databases.home()]
    is_protected = bool(triggers.installed(connection, Entry))
    if is_protected:
        _remove(connection)
    rows = Entry._base_manager.using(connection.alias).filter(pk=entry.pk)
    if columns:
        rows.update(**columns)
    else:
        rows.delete()
    if is_protected:
        for model in _PROTECTED:
            triggers.install(connection, model)


def reset_denial_limits() -> None:
    """Reset the counts of ``AUDIT_DENIALS_PER_MINUTE``.

    They belong to the process. Without a reset, the refused requests of one test can use up the limit of the next.
    """
    refusals.limiter.reset()


def _remove(connection: Any) -> None:
    with connection.cursor() as cursor:
        for model in _PROTECTED:
            for statement in triggers.removal(connection, model):
                cursor.execute(statement)
