"""The HTTP clients of a process, and many calls in parallel."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from django.core.signals import setting_changed

from dovetail_notify.transports.http import Unreachable

if TYPE_CHECKING:
    from dovetail_notify.transports.http.client import HttpcoreClient

T = TypeVar("T")
R = TypeVar("R")

BATCH_SECONDS: Final = 30.0
"""Calls of one claim start within this time; later ones are retried. Well within a lease (300 seconds)."""


class HttpClients:
    """The clients of this process: for public addresses that users choose, and for services that settings name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: dict[tuple[int, bool, bool], HttpcoreClient] = {}

    def get(self, *, public: bool, http2: bool = False) -> HttpcoreClient:
        # By process, because two processes that share a connection after a fork would read each other's responses.
        key = (os.getpid(), public, http2)
        with self._lock:
            if key not in self._clients:
                # Imported late, because httpcore is optional.
                from dovetail_notify.transports.http.client import HttpcoreClient

                self._clients[key] = HttpcoreClient(public=public, http2=http2)
            return self._clients[key]

    def close(self, **_: object) -> None:
        with self._lock:
            for key in [key for key in self._clients if key[0] == os.getpid()]:
                self._clients.pop(key).close()


clients = HttpClients()
atexit.register(clients.close)


def call_all(
    jobs: Iterable[T], call: Callable[[T], R], *, on_failure: Callable[[str], R], width: int
) -> Callable[[], Sequence[R]]:
    """Start ``call`` for each of ``jobs``, ``width`` at a time. Return a function that waits for all results.

    ``on_failure(reason)`` is the result of a job whose call raises an exception or does not start within 30 seconds, so
    that a service that never responds does not delay other deliveries. Jobs run in threads without the database.
    """
    jobs = list(jobs)
    if not jobs:
        return list
    deadline = time.monotonic() + BATCH_SECONDS
    pool = ThreadPoolExecutor(min(width, len(jobs)), "dovetail-notify-call")

    def run(job: T) -> R:
        if time.monotonic() > deadline:
            return on_failure("not started in time")
        try:
            return call(job)
        except Unreachable as error:
            return on_failure(str(error))
        except Exception as error:  # noqa: BLE001  # one failed call must not fail the others
            return on_failure(type(error).__name__)

    futures: list[Future[R]] = [pool.submit(run, job) for job in jobs]
    pool.shutdown(wait=False)
    return lambda: [future.result() for future in futures]


setting_changed.connect(clients.close, dispatch_uid="dovetail_notify.transports.http.calls")
