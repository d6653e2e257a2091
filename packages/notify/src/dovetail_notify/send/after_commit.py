"""Hooks that run after commit: they start the runner and tell sockets that there are new rows.

The rows are committed by then. A lost message costs time only: workers and sockets also look at the database.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.db import connections, transaction

from dovetail_notify.outbox.runner import start_runner
from dovetail_notify.realtime import messages

#: A message lists up to this many named recipients. For more, each process looks up its own connected users.
_LISTED_RECIPIENTS = 500


def schedule(*, after: Any, batch: UUID, recipients: Sequence[Any] | None, using: str) -> None:
    """Announce the rows of ``batch`` after commit, together with all others of the same transaction."""
    listed = None if recipients is None or len(recipients) > _LISTED_RECIPIENTS else [str(key) for key in recipients]

    # A new function for each call. Django 5.2 cannot log the failure of a partial, and a function that was registered
    # in a savepoint is dropped with it. The first function that runs announces everything.
    def announce() -> None:
        rows = [row for hook, row in _pending(using) if hook() is not None]
        connections[using]._dovetail_notify = []  # type: ignore[attr-defined]  # our own attribute
        if rows:
            messages.publish([{"type": "rows", "using": using, **row} for row in rows])
            start_runner(using)

    # On rollback Django drops the hooks of the transaction or savepoint without a signal. The weak references to them
    # are then dead: their rows are not announced with the next commit, and do not pile up in a process whose
    # transactions all roll back.
    waiting = [entry for entry in _pending(using) if entry[0]() is not None]
    row = {"after": after, "batch": str(batch), "users": listed}
    connections[using]._dovetail_notify = [  # type: ignore[attr-defined]  # our own attribute
        *waiting,
        (weakref.ref(announce), row),
    ]
    transaction.on_commit(announce, using=using, robust=True)


def _pending(using: str) -> list[tuple[Callable[[], Any], dict[str, Any]]]:
    return getattr(connections[using], "_dovetail_notify", [])
