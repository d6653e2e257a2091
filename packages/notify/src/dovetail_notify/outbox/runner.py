"""Starting the delivery of what was committed, as ``NOTIFY_RUNNER`` says. Nothing else knows how work runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from dovetail_notify.conf import conf
from dovetail_notify.outbox import worker

logger = logging.getLogger("dovetail.notify")


def immediate(using: str) -> None:
    """Deliver in this process, at once. Failed deliveries wait for ``manage.py notify_deliver``."""
    worker.deliver(using=using)


def wait(using: str) -> None:
    """Do nothing: ``manage.py notify_deliver --loop`` looks for new deliveries."""


class CircuitBreaker:
    """Calls a service that may be down, and after a failure not again for ten seconds.

    Clients of message brokers retry for seconds before they give up. A request must not wait for each of them, because
    the outbox is also looked at without the call.
    """

    def __init__(self) -> None:
        self._closed_at = 0.0
        self._failed = False

    def call(self, service: str, function: Callable[..., Any], *args: Any) -> None:
        if time.monotonic() < self._closed_at:
            return
        if self._failed:
            # One request tries the service again; the others of this process do not wait for the result.
            self._closed_at = time.monotonic() + 10
        try:
            function(*args)
            self._failed, self._closed_at = False, 0.0
        except Exception as error:  # noqa: BLE001  # any client library; the commit must not appear to have failed
            self._failed, self._closed_at = True, time.monotonic() + 10
            # Without the error's text, which may contain an address with a password.
            logger.warning("%s could not be told: %s.", service, type(error).__name__)


_circuit_breaker = CircuitBreaker()


def start_runner(using: str) -> None:
    """Call ``NOTIFY_RUNNER``, unless it failed within the last ten seconds. Never raises."""
    _circuit_breaker.call("The runner", conf.RUNNER, using)
