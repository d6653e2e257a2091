"""After a commit, start deliveries by ``NOTIFY_RUNNER`` and announce the new rows to sockets.

A lost message only costs time, because workers and sockets also look for new rows in the database.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any
from uuid import UUID

from django.db import connections, transaction

from dovetail_core.queues import CircuitBreaker
from dovetail_notify.conf import conf
from dovetail_notify.outbox import worker
from dovetail_notify.realtime import messages

logger = logging.getLogger("dovetail.notify")

#: A message lists up to this many named recipients. For more, each process looks up its own connected users.
_LISTED_RECIPIENTS = 500


def immediate(using: str) -> None:
    """Deliver at once in this process. ``manage.py notify_deliver`` retries failed deliveries."""
    worker.deliver(using=using)


def wait(using: str) -> None:
    """Do nothing, because ``manage.py notify_deliver --loop`` looks for new deliveries."""


#: Clients of message brokers retry for seconds before they give up. Requests must not wait for that, because workers
#: also check the outbox without being called.
_circuit = CircuitBreaker()


def start_runner(using: str) -> None:
    """Call ``NOTIFY_RUNNER``, unless it failed within the last ten seconds. Never raise."""
    if not _circuit.allows():
        return
    try:
        conf.RUNNER(using)
        _circuit.close()
    except Exception as error:  # noqa: BLE001  # of any client library; the commit must not appear to fail
        _circuit.open()
        # Without the error's text, which may contain a URL with a password.
        logger.warning("NOTIFY_RUNNER failed: %s.", type(error).__name__)


def schedule(*, after: int, batch: UUID, recipients: Sequence[Hashable] | None, using: str) -> None:
    """Announce the rows of ``batch``, whose keys are greater than ``after``, when the transaction commits.

    One message announces all batches of a transaction.
    """
    listed = None if recipients is None or len(recipients) > _LISTED_RECIPIENTS else [str(key) for key in recipients]

    # A new function for each call. Django 5.2 cannot log the failure of a partial, and drops a function that was
    # registered in a savepoint together with it. The first function that runs announces everything.
    def announce() -> None:
        rows = [row for hook, row in _pending(using) if hook() is not None]
        _pending(using).clear()
        if rows:
            messages.publish([{"type": "rows", "using": using, **row} for row in rows])
            start_runner(using)

    # On rollback Django drops the hooks of the transaction or savepoint without a signal. The weak references to them
    # are then dead: their rows are not announced with the next commit, and do not pile up in a process whose
    # transactions all roll back. Only the end is looked at, because a transaction may notify thousands of times.
    pending = _pending(using)
    while pending and pending[-1][0]() is None:
        pending.pop()
    pending.append((weakref.ref(announce), {"after": after, "batch": str(batch), "users": listed}))
    transaction.on_commit(announce, using=using, robust=True)


def _pending(using: str) -> list[tuple[Callable[[], Any], dict[str, Any]]]:
    return vars(connections[using]).setdefault("_dovetail_notify", [])  # type: ignore[no-any-return]  # our own
