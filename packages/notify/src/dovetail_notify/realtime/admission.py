"""Admitting sockets in batches.

After a deploy or a network failure, thousands of sockets arrive at once. All of them need the one thread that uses the
database; with two statements each, one of them a commit, a thousand sockets took 12 seconds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any, Final, Generic, TypeVar
from weakref import WeakKeyDictionary

from dovetail_notify.realtime import frames
from dovetail_notify.realtime.database_thread import in_database_thread
from dovetail_notify.realtime.socket_authentication import Admitted, admit_all
from dovetail_notify.realtime.tickets import Admission

T = TypeVar("T")
R = TypeVar("R")

#: The size of a batch. It limits how long the sockets after it wait.
BATCH_SIZE: Final = 200


class Batcher(Generic[T, R]):
    """Calls ``work`` in the database thread with all items that arrived during the previous call.

    The first item does not wait. ``work`` returns one result for each item; an exception among the results is raised
    only for its own item.
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
        # The future of a socket that has closed is cancelled; its ticket stays unused.
        batch = [(item, future) for item, future in batch if not future.done()]
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


class _Batchers:
    """The batchers of one event loop."""

    def __init__(self) -> None:
        self.admit: Batcher[dict[str, Any], Admitted] = Batcher(admit_all)
        self.opening: Batcher[Admitted, frames.Opening] = Batcher(frames.openings)


_batchers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Batchers] = WeakKeyDictionary()


async def admit(scope: dict[str, Any]) -> Admitted:
    """Return whose socket it is and which organizations it shows. Raises ``Refused``."""
    return await _current().admit(scope)


async def opening(admission: Admission, organizations: frozenset[str] | None) -> frames.Opening:
    """Return the cursor and unread count with which a socket starts."""
    return await _current().opening((admission, organizations))


def _current() -> _Batchers:
    loop = asyncio.get_running_loop()
    if loop not in _batchers:
        _batchers[loop] = _Batchers()
    return _batchers[loop]
