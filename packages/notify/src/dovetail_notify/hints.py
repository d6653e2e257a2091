"""What is said after commit: to the runner that there is something to send, to sockets that there is something to read.

Hints only. The rows are written; one that is lost costs time, and the sweep of either side finds what it was about.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
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

    # A function, and one for each call: of a partial Django 5.2 cannot log the failure, and one that was registered in
    # a savepoint is gone with it. The first that runs says everything.
    def say_it() -> None:
        rows = [row for said, row in _pending(using) if said() is not None]
        connections[using]._dovetail_notify = []  # type: ignore[attr-defined]  # ours
        if rows:
            realtime.publish([{"type": "rows", "using": using, **row} for row in rows])
            _runner.call("The runner", conf.RUNNER, using)

    # Django drops what was to be said of a transaction or savepoint that is rolled back, and tells nobody. What it has
    # dropped is dead: it is not said with the next commit, and not kept by a process whose transactions all roll back.
    waiting = [each for each in _pending(using) if each[0]() is not None]
    row = {"after": after, "batch": str(batch), "users": listed}
    connections[using]._dovetail_notify = [*waiting, (weakref.ref(say_it), row)]  # type: ignore[attr-defined]  # ours
    transaction.on_commit(say_it, using=using, robust=True)


def _pending(using: str) -> list[tuple[Callable[[], Any], dict[str, Any]]]:
    return getattr(connections[using], "_dovetail_notify", [])
