"""The one thread in which all sockets of a process use the database."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Final, Generic, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import close_old_connections, connections

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")

#: The number of items in a batch limits how long the items after it wait.
BATCH_SIZE: Final = 200
_RENEW_SECONDS: Final = 60
_renewed_at = 0.0


async def in_database_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    def call() -> T:
        _renew_connections()
        return function(*args, **kwargs)

    # In an empty context: in a request's context, asgiref would use the request's thread, and a stream would hold a
    # database connection as long as it lives.
    return await asyncio.get_running_loop().create_task(sync_to_async(call)(), context=Context())


def _renew_connections() -> None:
    """Close old connections as Django does before each request, but at most once a minute or after an error.

    With ``CONN_MAX_AGE = 0``, every call would otherwise open a new connection.
    """
    global _renewed_at
    now = time.monotonic()
    broken = any(connection.errors_occurred for connection in connections.all(initialized_only=True))
    if now - _renewed_at > _RENEW_SECONDS or broken:
        _renewed_at = now
        close_old_connections()


class Batcher(Generic[T, R]):
    """Calls ``work`` in the database thread with all items that arrived during the previous call.

    After a deploy or a network failure, thousands of sockets arrive at once. With two statements for each of them, one
    a commit, a thousand sockets took 12 seconds.

    The first item does not wait. ``work`` returns one result for each item. An exception among the results is raised
    for its own item only.
    """

    def __init__(self, work: Callable[[Sequence[T]], Sequence[R | Exception]]) -> None:
        self._work = work
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, item: T) -> R:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._waiting.append((item, future))
        if self._task is None:
            # In an empty context instead of the first caller's: the task outlives that caller.
            self._task = loop.create_task(self._run(), context=Context())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._process([self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_SIZE))])
        finally:
            self._task = None

    async def _process(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        # The future of a closed socket is cancelled; its ticket stays unused.
        batch = [(item, future) for item, future in batch if not future.done()]
        results: Sequence[R | Exception]
        try:
            results = await in_database_thread(self._work, [item for item, _ in batch]) if batch else ()
        except Exception as error:  # noqa: BLE001  # raised for every item of the batch
            results = [error] * len(batch)
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
