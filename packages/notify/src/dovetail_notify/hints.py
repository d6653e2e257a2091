"""What is said after commit: to the runner that there is something to send, to sockets that there is something to read.

Hints only. The rows are written; one that is lost costs time, and the sweep of either side finds what it was about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connections, transaction

from dovetail_notify import realtime
from dovetail_notify.conf import conf

#: Named recipients that a hint lists; more are left to each process to look up among those who are connected to it.
_LISTED = 500

_runner = realtime.Hinting()


def schedule(*, after: Any, batch: UUID, recipients: Sequence[Any] | None, using: str) -> None:
    """Say it once for everything that one transaction wrote."""
    listed = None if recipients is None or len(recipients) > _LISTED else [str(key) for key in recipients]
    _pending(using).append({"after": after, "batch": str(batch), "users": listed})

    # A function, and one for each call: of a partial Django 5.2 cannot log the failure, and one that was registered in
    # a savepoint is gone with it. The first that runs says everything.
    def say_it() -> None:
        rows, connections[using]._dovetail_notify = _pending(using), []  # type: ignore[attr-defined]  # ours
        if rows:
            realtime.publish([{"type": "rows", "using": using, **row} for row in rows])
            _runner.call("The runner", conf.RUNNER, using)

    transaction.on_commit(say_it, using=using, robust=True)


def _pending(using: str) -> list[dict[str, Any]]:
    connection: Any = connections[using]
    if not hasattr(connection, "_dovetail_notify"):
        connection._dovetail_notify = []
    found: list[dict[str, Any]] = connection._dovetail_notify
    return found
