"""The hub: everything that the sockets of one process have in common.

One reads what is new, for all of them, and hands it out by itself: a hint from the channel layer or from this process
costs two queries however many listen, and a socket costs no subscription of its own. What no hint told of, because
Redis was away or a layer dropped it, a look at the database finds every ``NOTIFY_SOCKET_SWEEP_SECONDS``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context
from typing import Any, ClassVar
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import close_old_connections, connections

from dovetail_notify import frames, realtime
from dovetail_notify.conf import conf
from dovetail_notify.protocol import FORBIDDEN, HEARTBEAT_SECONDS, TOO_MANY, Refused, frame
from dovetail_notify.sockets import Socket
from dovetail_notify.standing import ended_sessions, standings

logger = logging.getLogger("dovetail.notify")

#: Hints that come within it are answered by the same two queries.
GATHER_SECONDS = 0.01
_CHUNK = 200
_RENEW_SECONDS = 60
_renewed = 0.0
# Batches are told once; remembered for longer than a sweep looks back.
_REMEMBERED_SECONDS = 300
_PING = frame("ping")
_RESYNC = frame("resync")
# More than that at once, and each reads its own list.
_MANY = 5000


async def in_thread(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Call what asks the database, in the one thread that does it for all sockets of a process."""

    def call() -> Any:
        _renew_connections()
        return function(*arguments, **keywords)

    # A context of its own: in that of a request, asgiref would take the request's thread, and a stream keep a database
    # connection for as long as it lives.
    return await asyncio.get_running_loop().create_task(_awaited(call), context=Context())


async def _awaited(call: Callable[[], Any]) -> Any:
    return await sync_to_async(call)()


def _renew_connections() -> None:
    """As Django does before each request; but not each time, which with ``CONN_MAX_AGE = 0`` is a new one each time."""
    global _renewed
    now = time.monotonic()
    if now - _renewed > _RENEW_SECONDS or any(each.errors_occurred for each in connections.all(initialized_only=True)):
        _renewed = now
        close_old_connections()


class Hub:
    """One an event loop, which is one a process; there while somebody listens."""

    _hubs: ClassVar[dict[asyncio.AbstractEventLoop, Hub]] = {}

    def __init__(self) -> None:
        self.sockets: dict[str, set[Socket]] = {}
        self._loop = asyncio.get_running_loop()
        self._pending: dict[tuple[str | None, UUID], int] = {}
        self._told: dict[UUID, float] = {}
        self._reading: set[UUID] = set()
        self._floors: deque[tuple[float, int]] = deque()
        self._wake = asyncio.Event()
        self._listening = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    def current(cls) -> Hub:
        loop = asyncio.get_running_loop()
        if loop not in cls._hubs:
            for closed in [each for each in cls._hubs if each.is_closed()]:
                del cls._hubs[closed]
            cls._hubs[loop] = cls()
        return cls._hubs[loop]

    async def add(self, socket: Socket) -> None:
        """From now on it gets what is new. Raises ``Refused`` for one too many of a person."""
        mine = self.sockets.setdefault(socket.user_key, set())
        if len(mine) >= conf.SOCKETS_PER_USER:
            raise Refused(TOO_MANY, "too_many_sockets")
        mine.add(socket)
        if not self._tasks:
            self._start()
        if self._listening.is_set():
            return
        # A hub that no layer reaches works as well, by looking.
        try:
            await asyncio.wait_for(self._listening.wait(), 2)
        except TimeoutError:
            logger.warning("The channel layer is away; sockets are told what the database says.")
            self._listening.set()

    def remove(self, socket: Socket) -> None:
        socket.release()
        mine = self.sockets.get(socket.user_key, set())
        mine.discard(socket)
        if not mine:
            self.sockets.pop(socket.user_key, None)
        if not self.sockets:
            self._stop()

    def all(self) -> Iterable[Socket]:
        return [socket for mine in self.sockets.values() for socket in mine]

    def take(self, message: realtime.Message) -> None:
        """A message of this process or of another. Called in the loop; never waits."""
        if (take := getattr(self, f"_take_{message.get('type')}", None)) is not None:
            take(message)

    # What messages say ------------------------------------------------------------------------------------------------

    def _take_rows(self, message: realtime.Message) -> None:
        batch, users = UUID(message["batch"]), message.get("users")
        if batch in self._told:
            return
        if users is not None and not any(user in self.sockets for user in users):
            self._told[batch] = time.monotonic()
            return
        self._pending[message.get("using"), batch] = message["after"]
        self._wake.set()

    def _take_frame(self, message: realtime.Message) -> None:
        text = frame(**{"kind": message["frame"]["type"], **_without_type(message["frame"])})
        for user in message["users"]:
            for socket in self.sockets.get(user, ()):
                if socket.admission.organization_key is None:
                    socket.put(text)
                else:
                    # Its count is another one.
                    self._run(self._recount(socket, message["frame"]))

    def _take_close(self, message: realtime.Message) -> None:
        user, session, organization = (message.get(name) for name in ("user", "session", "organization"))
        for socket in [*self.sockets.get(user, ())] if user is not None else self.all():
            if (session is None or socket.admission.session == session) and (
                organization is None or socket.admission.organization_key == organization
            ):
                socket.close(FORBIDDEN, message.get("reason") or "session_revoked")

    def _take_recheck(self, message: realtime.Message) -> None:
        user = message.get("user")
        self._run(self._recheck([*self.sockets.get(user, ())] if user is not None else [*self.all()]))

    # The database -----------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._wake.clear()
            pending = {each: after for each, after in self._pending.items() if each[1] not in self._told}
            self._pending = {}
            self._reading = {batch for _, batch in pending}
            for using in {using for using, _ in pending}:
                batches = [batch for alias, batch in pending if alias == using]
                for start in range(0, len(batches), _CHUNK):
                    chunk = batches[start : start + _CHUNK]
                    await self._tell(chunk, min(pending[using, batch] for batch in chunk), using)
            self._reading = set()

    async def _tell(self, batches: list[UUID], after: int, using: str | None) -> None:
        recipients = [next(iter(mine)).admission.user.pk for mine in self.sockets.values() if mine]
        try:
            found = await in_thread(frames.of_batches, batches, after=after, recipients=recipients, using=using)
        except Exception as error:  # noqa: BLE001  # not told, so the next look finds them
            logger.warning("New notifications could not be read: %s.", type(error).__name__)
            return
        now = time.monotonic()
        self._told |= dict.fromkeys(batches, now)
        for user, organization, text in found:
            for socket in self.sockets.get(user, ()):
                if socket.shows(organization):
                    socket.put(text)

    async def look(self) -> None:
        """Find what no hint told of: batches that were written lately and not told."""
        now = time.monotonic()
        self._told = {batch: at for batch, at in self._told.items() if now - at < _REMEMBERED_SECONDS}
        last = await in_thread(frames.last_key)
        while len(self._floors) > 1 and now - self._floors[1][0] > frames.OVERLAP.total_seconds():
            self._floors.popleft()
        if not self._floors:
            self._floors.append((now, last))
        floor = self._floors[0][1]
        written = await in_thread(frames.batches_after, floor)
        known = {*self._told, *self._reading, *(batch for _, batch in self._pending)}
        unknown = [batch for batch in written if batch not in known]
        self._floors.append((now, last))
        if len(unknown) > _MANY:
            self._told |= dict.fromkeys(unknown, now)
            for socket in self.all():
                socket.put(_RESYNC)
            return
        self._pending |= {(None, batch): floor for batch in unknown}
        if unknown:
            self._wake.set()

    async def _sweep(self) -> None:
        rechecked = pinged = time.monotonic()
        while True:
            await self._guarded(self.look())
            now = time.monotonic()
            if now - pinged >= HEARTBEAT_SECONDS:
                pinged = now
                for socket in self.all():
                    if socket.idle:
                        socket.put(_PING)
            if now - rechecked >= conf.SOCKET_RECHECK_SECONDS:
                rechecked = now
                await self._guarded(self._recheck([*self.all()]))
            await asyncio.sleep(min(conf.SOCKET_SWEEP_SECONDS, HEARTBEAT_SECONDS))

    async def _recheck(self, sockets: list[Socket]) -> None:
        for start in range(0, len(sockets), _CHUNK):
            some = sockets[start : start + _CHUNK]
            now = await in_thread(standings, {socket.admission.user.pk for socket in some})
            over = await in_thread(ended_sessions, {s.admission.session for s in some if s.admission.session})
            for socket in some:
                standing, bound = now.get(socket.user_key), socket.admission.organization_key
                if standing is None:
                    socket.close(FORBIDDEN, "account_inactive")
                elif standing.fingerprint != socket.fingerprint or socket.admission.session in over:
                    socket.close(FORBIDDEN, "session_revoked")
                elif bound and standing.organizations is not None and bound not in standing.organizations:
                    socket.close(FORBIDDEN, "membership_removed")
                else:
                    socket.organizations = standing.organizations

    async def _recount(self, socket: Socket, shown: dict[str, Any]) -> None:
        what = {name: value for name, value in _without_type(shown).items() if name not in ("unread", "capped")}
        socket.put(await in_thread(frames.unread_frame, socket.admission, **what))

    # Life -------------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        Hub._hubs[self._loop] = self
        realtime.listeners[self._loop] = self.take
        self._listening.clear()
        self._floors.clear()
        self._run(self._read())
        self._run(self._sweep())
        try:
            subscribe = realtime.layer("subscribe")
        except Exception as error:  # noqa: BLE001  # of whatever layer is named; the database says what is new
            logger.warning("The channel layer cannot be used: %s.", type(error).__name__)
            subscribe = None
        if subscribe is None:
            self._listening.set()
        else:
            self._run(subscribe(self))

    def listening(self) -> None:
        """The channel layer reaches this process, for the first time or again."""
        if self._listening.is_set():
            self._run(self.look())
        self._listening.set()

    def _stop(self) -> None:
        realtime.listeners.pop(self._loop, None)
        Hub._hubs.pop(self._loop, None)
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(self._guarded(work), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            # The database is away, or a hook of the project's failed: the next turn tries again.
            logger.exception("The sockets' hub failed at one thing and goes on.")


def _without_type(shown: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in shown.items() if name != "type"}
