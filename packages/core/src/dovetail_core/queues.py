"""Publish tasks to a message broker that may be down or hung, without holding the request that has just committed.

A broker that refuses connections fails at once. One that is stopped (``kill -STOP``, a full disk, a paused virtual
machine) still accepts connections in its kernel and never answers; clients of Redis then wait without end, and clients
of AMQP for several times their timeout. So a publication runs in a thread and gets two seconds. After a failure, the
process publishes nothing for ten seconds. So the requests that are publishing at that moment wait, and after that one
request in ten seconds.

A message that was not confirmed in time may arrive later all the same. Tasks must tolerate that they run twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import copy_context
from typing import Any, Final, Protocol

from django.db import connections
from django.views.decorators.debug import sensitive_variables

logger = logging.getLogger("dovetail.queues")

#: The longest time in seconds that a publication holds its caller.
PATIENCE: Final = 2.0
#: The time in seconds after a failure during which nothing is published.
PAUSE: Final = 10.0

#: A second attempt without a pause, because a restart of the broker breaks pooled connections.
_RETRY_POLICY: Final = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}


class Unavailable(Exception):
    """The broker did not take a message within ``PATIENCE``, or failed within the last ``PAUSE``."""


class Task(Protocol):
    """The part of a Celery task that :func:`publish_task` uses."""

    @property
    def app(self) -> Any: ...
    @property
    def apply_async(self) -> Callable[..., Any]: ...


class CircuitBreaker:
    """Remembers failures of a service, so that a process does not wait for it again for ``PAUSE`` seconds."""

    def __init__(self) -> None:
        self._open_until = 0.0
        self._lock = threading.Lock()

    def allows(self) -> bool:
        """Return whether to call the service. After a pause, the first caller tries and the others do not wait."""
        with self._lock:
            now = time.monotonic()
            if now < self._open_until:
                return False
            if self._open_until:
                self._open_until = now + PAUSE
            return True

    def open(self) -> None:
        """Record a failure."""
        self._open_until = time.monotonic() + PAUSE

    def close(self) -> None:
        """Record a success."""
        self._open_until = 0.0


#: The circuit of this process's broker, which all packages share.
circuit = CircuitBreaker()


@sensitive_variables()
def publish(send: Callable[[], object]) -> None:
    """Call ``send`` in a thread with the caller's context variables. Wait for at most ``PATIENCE`` seconds.

    Raise ``Unavailable`` if it fails or takes longer, or if the circuit is open. ``send`` has its own database
    connections and must not depend on the caller's transaction; call this after the commit.
    """
    if not circuit.allows():
        raise Unavailable("The broker failed a moment ago.")
    failures: list[Exception] = []

    def call() -> None:
        try:
            send()
        except Exception as error:  # noqa: BLE001  # clients of brokers raise errors of their own
            failures.append(error)
        finally:
            connections.close_all()

    # A daemon, and not a thread of an executor: one that never returns must not hold the end of the process.
    thread = threading.Thread(target=copy_context().run, args=(call,), name="dovetail-publish", daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if thread.is_alive() or failures:
        circuit.open()
        # Without the error's text and traceback, which may show the broker's password or a recipient's address.
        reason = type(failures[0]).__name__ if failures else f"no answer in {PATIENCE:g} seconds"
        logger.error("The broker takes no messages: %s. The next attempt is in %g seconds.", reason, PAUSE)
        raise Unavailable(reason) from None
    circuit.close()


def publish_task(
    task: Task,
    *args: Any,
    otherwise: Callable[[], object] | None = None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Publish a Celery task with ``args``. If the broker is unavailable, call ``otherwise``.

    ``options`` are further arguments of ``apply_async()``, such as ``task_id``.

    Raise ``Unavailable`` without ``otherwise``. An eager task (``task_always_eager``) runs at once, in the caller's
    transaction. Events and logs of Celery do not show the arguments, which may be addresses.
    """
    arguments: dict[str, Any] = {"retry": True, "retry_policy": _RETRY_POLICY, "argsrepr": "(…)", **(options or {})}
    if task.app.conf.task_always_eager:
        task.apply_async(args, **arguments)
        return
    try:
        publish(lambda: task.apply_async(args, **arguments))
    except Unavailable:
        if otherwise is None:
            raise
        otherwise()
