"""Start deliveries after a commit by ``NOTIFY_RUNNER``, the only setting that decides where they run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from dovetail_notify.conf import conf
from dovetail_notify.outbox import worker

logger = logging.getLogger("dovetail.notify")


def immediate(using: str) -> None:
    """Deliver at once in this process. ``manage.py notify_deliver`` retries failed deliveries."""
    worker.deliver(using=using)


def wait(using: str) -> None:
    """Do nothing, because ``manage.py notify_deliver --loop`` looks for new deliveries."""


class CircuitBreaker:
    """Calls a function whose service may be down. After a failure, it skips calls for ten seconds.

    Clients of message brokers retry for seconds before they give up. Requests must not wait for that, because workers
    also look at the outbox without a call.
    """

    def __init__(self) -> None:
        self._open_until = 0.0

    def call(self, function: Callable[..., object], *args: object) -> None:
        if time.monotonic() < self._open_until:
            return
        if self._open_until:
            # This request tries the service again. Meanwhile the other requests of the process skip their calls.
            self._open_until = time.monotonic() + 10
        try:
            function(*args)
            self._open_until = 0.0
        except Exception as error:  # noqa: BLE001  # of any client library; the commit must not appear to fail
            self._open_until = time.monotonic() + 10
            # Without the error's text, which may contain a URL with a password.
            logger.warning("NOTIFY_RUNNER failed: %s.", type(error).__name__)


_circuit_breaker = CircuitBreaker()


def start_runner(using: str) -> None:
    """Call ``NOTIFY_RUNNER``, unless it failed within the last ten seconds. Never raise."""
    _circuit_breaker.call(conf.RUNNER, using)
