"""The HTTP clients of a process, and running many calls at a time."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from django.core.signals import setting_changed

from dovetail_notify.transports.http.base import HttpClient, Unreachable

T = TypeVar("T")
R = TypeVar("R")

BATCH_SECONDS: Final = 30.0
"""Calls of one claim start within this time; later ones are retried. Well within a lease (300 seconds)."""

logger = logging.getLogger("dovetail.notify")


class HttpClients:
    """The clients of this process: for public addresses that users chose, and for services that settings name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: dict[tuple[int, bool, bool], HttpClient] = {}

    def get(self, *, public: bool, http2: bool = False) -> HttpClient:
        # By process: two processes that share a connection after a fork would read each other's responses.
        key = (os.getpid(), public, http2)
        with self._lock:
            if key not in self._clients:
                # httpcore is optional.
                from dovetail_notify.transports.http.client import HttpcoreClient

                self._clients[key] = HttpcoreClient(public=public, http2=http2)
            return self._clients[key]

    def close(self, **_: Any) -> None:
        with self._lock:
            own = [key for key in self._clients if key[0] == os.getpid()]
            for key in own:
                self._clients.pop(key).close()


clients = HttpClients()
atexit.register(clients.close)


def call_all(
    jobs: Iterable[T], call: Callable[[T], R], *, on_failure: Callable[[T, str], R], width: int
) -> Callable[[], Sequence[R]]:
    """Start ``call`` for each of ``jobs``, ``width`` at a time. Return a function that waits for all results.

    ``on_failure`` makes the result of a job whose call raised or did not start within 30 seconds: a claim must end, and
    a service that never responds must not delay other deliveries. Jobs run in threads and must not use the database.
    """
    jobs = list(jobs)
    if not jobs:
        return list
    deadline = time.monotonic() + BATCH_SECONDS
    pool = ThreadPoolExecutor(min(width, len(jobs)), "dovetail-notify-call")

    def run(job: T) -> R:
        if time.monotonic() > deadline:
            return on_failure(job, "its turn did not come")
        try:
            return call(job)
        except Unreachable as error:
            return on_failure(job, str(error))
        except Exception as error:  # noqa: BLE001  # one failed call must not fail the others
            return on_failure(job, type(error).__name__)

    futures: list[Future[R]] = [pool.submit(run, job) for job in jobs]
    pool.shutdown(wait=False)
    return lambda: [future.result() for future in futures]


setting_changed.connect(clients.close, dispatch_uid="dovetail_notify.transports.http.calls")
