"""Compare ranges of leaves in several processes.

A new process imports this module before its apps are ready, so it imports no models.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import django
from django.db import connections

from dovetail_audit.verification.findings import Finding

if TYPE_CHECKING:
    from dovetail_audit.verification.rows import Range

#: Ranges per process that are compared or wait. More would only take memory.
_WAITING: Final = 4


def check_workers(using: str, workers: int) -> None:
    """Raise ``ValueError`` if so many processes cannot verify the database."""
    if workers < 1:
        raise ValueError(f"The number of workers must be at least 1; got {workers}.")
    connection: Any = connections[using]
    if workers > 1 and connection.vendor == "sqlite" and connection.is_in_memory_db():
        raise ValueError(
            "An SQLite database in memory belongs to one process, so it can only be verified with one worker."
        )


def compare_all(
    using: str, steps: Iterable[Finding | tuple[int, int]], workers: int
) -> Iterator[tuple[int, Range] | Finding]:
    """Replace each range of leaves, from and to, by its end and the result of the comparison, in the same order."""
    if workers == 1:
        for step in steps:
            yield step if isinstance(step, Finding) else _compare(using, *step)
        return
    waiting: deque[Finding | Future[tuple[int, Range]]] = deque()
    with _pool(using, workers) as pool:
        for step in steps:
            waiting.append(step if isinstance(step, Finding) else pool.submit(_compare, using, *step))
            while waiting and (len(waiting) > _WAITING * workers or _is_done(waiting[0])):
                yield _result(waiting.popleft())
        yield from map(_result, waiting)


def _compare(using: str, start: int, stop: int) -> tuple[int, Range]:
    from dovetail_audit.verification.rows import compare

    return stop, compare(using, start, stop)


def _is_done(step: Finding | Future[tuple[int, Range]]) -> bool:
    return isinstance(step, Finding) or step.done()


def _result(step: Finding | Future[tuple[int, Range]]) -> tuple[int, Range] | Finding:
    return step if isinstance(step, Finding) else step.result()


@contextmanager
def _pool(using: str, workers: int) -> Iterator[ProcessPoolExecutor]:
    # Not "fork": a fork has the sockets of the parent's connections, and locks that its threads held.
    context = multiprocessing.get_context("spawn")
    # The name, because test runners change it after the settings are read.
    arguments = (using, connections[using].settings_dict["NAME"])
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=arguments)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(using: str, name: str) -> None:
    # Ctrl-C goes to all processes of the terminal. The command ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    django.setup()
    connections[using].settings_dict["NAME"] = name
    gc.freeze()


def _end_with_parent() -> None:
    """Without this, the processes of a command that was killed wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
