"""What transports that call other servers have in common: one client a process, answers, and many calls at a time."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final, Protocol, TypeVar

from django.core.signals import setting_changed
from django.utils import timezone

T = TypeVar("T")
R = TypeVar("R")

CALL_SECONDS: Final = 10.0
"""For a whole call: its connection, its request and its answer."""
BATCH_SECONDS: Final = 30.0
"""In which the calls of one claim begin; those that have not are put off. Well within a lease (300 seconds)."""
ANSWER_BYTES: Final = 64 * 1024
_LONGEST_WAIT: Final = 24 * 3600

logger = logging.getLogger("dovetail.notify")


class Unreachable(Exception):
    """No answer came. The text is the failure's name, and nothing of the address."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after(self) -> int | None:
        """Seconds that ``Retry-After`` asks to wait, given as such or as a date (RFC 9110 10.2.3); at most a day."""
        given = self.headers.get("retry-after", "").strip()
        if given.isascii() and given.isdecimal():
            seconds = int(given[:9])
        else:
            try:
                at = parsedate_to_datetime(given)
            except ValueError:
                return None
            seconds = round((at.replace(tzinfo=at.tzinfo or UTC) - timezone.now()).total_seconds())
        return min(max(seconds, 1), _LONGEST_WAIT)


class Caller(Protocol):
    def post(self, url: str, *, headers: Mapping[str, str], content: bytes) -> Answer: ...
    def close(self) -> None: ...


class Callers:
    """The process's clients: to addresses that others chose, and to services that the settings name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[tuple[int, bool, bool], Caller] = {}

    def get(self, *, public: bool, http2: bool = False) -> Caller:
        # By process: two that share a connection after a fork would read each other's answers.
        key = (os.getpid(), public, http2)
        with self._lock:
            if key not in self._made:
                from dovetail_notify.contrib.httpcore import HttpCaller

                self._made[key] = HttpCaller(public=public, http2=http2)
            return self._made[key]

    def close(self, **_: Any) -> None:
        with self._lock:
            mine = [key for key in self._made if key[0] == os.getpid()]
            for key in mine:
                self._made.pop(key).close()


callers = Callers()
atexit.register(callers.close)


def call_all(
    jobs: Iterable[T], call: Callable[[T], R], *, otherwise: Callable[[T, str], R], width: int
) -> Callable[[], Sequence[R]]:
    """Begin ``call`` for each of ``jobs``, ``width`` at a time; what is returned waits for all and has their results.

    ``otherwise`` makes the result of a job whose call raised, or whose turn had not come after 30 seconds: claims
    end, and a service that answers to nobody must not hold what others wait for. Jobs must not use the database: they
    run in threads.
    """
    jobs = list(jobs)
    if not jobs:
        return list
    until = time.monotonic() + BATCH_SECONDS
    pool = ThreadPoolExecutor(min(width, len(jobs)), "dovetail-notify-call")

    def run(job: T) -> R:
        if time.monotonic() > until:
            return otherwise(job, "its turn did not come")
        try:
            return call(job)
        except Unreachable as error:
            return otherwise(job, str(error))
        except Exception as error:  # noqa: BLE001  # one device must not fail the others
            return otherwise(job, type(error).__name__)

    futures: list[Future[R]] = [pool.submit(run, job) for job in jobs]
    pool.shutdown(wait=False)
    return lambda: [future.result() for future in futures]


setting_changed.connect(callers.close, dispatch_uid="dovetail_notify.calls")
