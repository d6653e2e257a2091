"""Sockets that arrive together are let in together.

After a deploy or a network's outage thousands come at once, and all of them through the one thread that asks the
database: two statements for each, one of them a commit, were 12 seconds for a thousand.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any, Final, Generic, TypeVar
from weakref import WeakKeyDictionary

from dovetail_notify import frames
from dovetail_notify.handshake import Admitted, admit_all
from dovetail_notify.hub import in_thread
from dovetail_notify.tickets import Admission

T = TypeVar("T")
R = TypeVar("R")

#: As many at most are asked of the database at once: those after them wait for no longer than that takes.
TOGETHER: Final = 200


class Together(Generic[T, R]):
    """Calls ``work`` in the hub's thread with what came during the call before; the first waits for nobody.

    ``work`` answers each of what it is given; an exception among its answers is raised for that one alone.
    """

    def __init__(self, work: Callable[[Sequence[T]], Sequence[R | Exception]]) -> None:
        self._work = work
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, item: T) -> R:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        self._waiting.append((item, answer))
        if self._task is None:
            # Of nobody's context, and not of whoever comes first: it goes on when that one has gone.
            self._task = loop.create_task(self._run(), context=Context())
        return await answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._answer([self._waiting.popleft() for _ in range(min(len(self._waiting), TOGETHER))])
        finally:
            self._task = None

    async def _answer(self, some: list[tuple[T, asyncio.Future[R]]]) -> None:
        # Who has gone meanwhile has a cancelled future, and keeps the ticket that was not used.
        some = [each for each in some if not each[1].done()]
        try:
            answers = await in_thread(self._work, [item for item, _ in some]) if some else ()
        except Exception as error:  # noqa: BLE001  # for each of them to raise
            answers = [error] * len(some)
        for (_, waiting), answer in zip(some, answers, strict=True):
            if waiting.done():
                continue
            if isinstance(answer, Exception):
                waiting.set_exception(answer)
            else:
                waiting.set_result(answer)


class _Arrivals:
    """Those of one event loop."""

    def __init__(self) -> None:
        self.admitted: Together[dict[str, Any], Admitted] = Together(admit_all)
        self.opened: Together[Admitted, frames.Opening] = Together(frames.openings)


_arrivals: WeakKeyDictionary[asyncio.AbstractEventLoop, _Arrivals] = WeakKeyDictionary()


async def admit(scope: dict[str, Any]) -> Admitted:
    """Whose socket it is, and of which organizations it tells. Raises ``Refused``."""
    return await _here().admitted(scope)


async def opening(admission: Admission, organizations: frozenset[str] | None) -> frames.Opening:
    """Where a socket begins."""
    return await _here().opened((admission, organizations))


def _here() -> _Arrivals:
    loop = asyncio.get_running_loop()
    if loop not in _arrivals:
        _arrivals[loop] = _Arrivals()
    return _arrivals[loop]
