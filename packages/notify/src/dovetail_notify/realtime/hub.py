"""The hub, which reads new rows once for all sockets of a process.

A message from the channel layer or from this process costs two queries for any number of sockets, and sockets need no
subscriptions of their own. Every ``NOTIFY_SOCKET_SWEEP_SECONDS``, the hub looks in the database for rows whose message
was lost because Redis was down or a layer dropped it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, ClassVar
from uuid import UUID

from dovetail_notify.conf import conf
from dovetail_notify.realtime import frames, messages
from dovetail_notify.realtime.database_thread import Batcher, in_database_thread
from dovetail_notify.realtime.messages import Message
from dovetail_notify.realtime.protocol import FORBIDDEN, HEARTBEAT_SECONDS, TOO_MANY, Refused, encode, frame
from dovetail_notify.realtime.socket_authentication import Admitted, admit_all
from dovetail_notify.realtime.sockets import Socket, revalidate

logger = logging.getLogger("dovetail.notify")

#: The hub waits this long for more messages, to read their rows with the same two queries.
GATHER_SECONDS = 0.01
#: Equal hints within this time are one frame, because each makes all clients send a request. It also gives other
#: processes time to learn of the change before clients ask them.
HINT_SECONDS = 0.1
_CHUNK = 200
# Delivered batches are remembered longer than a sweep looks back.
_REMEMBERED_SECONDS = 300
_PING = frame("ping")
_RESYNC = frame("resync")
# With more new batches than this, clients read their own lists.
_MAX_SWEPT_BATCHES = 5000


class Hub:
    """The hub of an event loop. It runs while sockets are open. A process usually has one event loop."""

    _hubs: ClassVar[dict[asyncio.AbstractEventLoop, Hub]] = {}

    def __init__(self) -> None:
        self.sockets: dict[str, set[Socket]] = {}
        self.admit: Batcher[dict[str, Any], Admitted] = Batcher(admit_all)
        self.opening: Batcher[Admitted, frames.Opening] = Batcher(frames.openings)
        self._loop = asyncio.get_running_loop()
        self._pending: dict[tuple[str | None, UUID], int] = {}
        self._delivered: dict[UUID, float] = {}
        self._reading: set[UUID] = set()
        self._hints: dict[str, set[str | None]] = {}
        self._floors: deque[tuple[float, int]] = deque()
        self._wake = asyncio.Event()
        self._listening = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    def current(cls) -> Hub:
        loop = asyncio.get_running_loop()
        if loop not in cls._hubs:
            for closed_loop in [other for other in cls._hubs if other.is_closed()]:
                del cls._hubs[closed_loop]
            cls._hubs[loop] = cls()
        return cls._hubs[loop]

    async def add(self, socket: Socket) -> None:
        """Send new notifications to the socket from now on. Raise ``Refused`` if the user has too many sockets."""
        sockets = self.sockets.setdefault(socket.user_key, set())
        if len(sockets) >= conf.SOCKETS_PER_USER:
            raise Refused(TOO_MANY, "too_many_sockets")
        sockets.add(socket)
        if not self._tasks:
            self._start()
        if self._listening.is_set():
            return
        try:
            await asyncio.wait_for(self._listening.wait(), 2)
        except TimeoutError:
            logger.warning("The channel layer cannot be reached. Sockets get new rows from the database.")
            self._listening.set()

    def remove(self, socket: Socket) -> None:
        socket.release()
        sockets = self.sockets.get(socket.user_key, set())
        sockets.discard(socket)
        if not sockets:
            self.sockets.pop(socket.user_key, None)
        if not self.sockets:
            self._stop()

    def all(self, user: str | None = None) -> list[Socket]:
        groups = self.sockets.values() if user is None else [self.sockets.get(user, set())]
        return [socket for sockets in groups for socket in sockets]

    def take(self, message: Message) -> None:
        """Handle a message of this or another process. Called in the event loop; never waits."""
        if (take := getattr(self, f"_take_{message.get('type')}", None)) is not None:
            take(message)

    def _take_rows(self, message: Message) -> None:
        batch, users = UUID(message["batch"]), message.get("users")
        if batch in self._delivered:
            return
        if users is not None and not any(user in self.sockets for user in users):
            self._delivered[batch] = time.monotonic()
            return
        self._pending[message.get("using"), batch] = message["after"]
        self._wake.set()

    def _take_frame(self, message: Message) -> None:
        text = encode(message["frame"])
        for user in message["users"]:
            for socket in self.sockets.get(user, ()):
                if socket.admission.organization_key is None:
                    socket.put(text)
                else:  # this socket shows one organization, so its unread count differs
                    self._run(self._recount(socket, message["frame"]))

    def _take_hint(self, message: Message) -> None:
        if not self.sockets:  # the hub has stopped
            return
        if not self._hints:
            self._run(self._send_hints())
        self._hints.setdefault(message["kind"], set()).add(message["organization"])

    def _take_close(self, message: Message) -> None:
        user, session, organization = (message.get(name) for name in ("user", "session", "organization"))
        for socket in self.all(user):
            if (session is None or socket.admission.session == session) and (
                organization is None or socket.admission.organization_key == organization
            ):
                socket.close(FORBIDDEN, message.get("reason") or "session_revoked")

    def _take_recheck(self, message: Message) -> None:
        self._run(revalidate(self.all(message.get("user"))))

    def _take_lost(self, message: Message) -> None:
        """Handle that another process has dropped messages for these users, or for all users if there are many."""
        users = message["users"]
        for user in [None] if users is None else users:
            for socket in self.all(user):
                socket.put(_RESYNC)
        # The dropped messages may also have announced rows, or users and sessions to check again.
        self._run(self.sweep())
        self._run(revalidate(self.all()))

    async def _read(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._wake.clear()
            pending = {item: after for item, after in self._pending.items() if item[1] not in self._delivered}
            self._pending = {}
            self._reading = {batch for _, batch in pending}
            for using in {using for using, _ in pending}:
                batches = [batch for alias, batch in pending if alias == using]
                for start in range(0, len(batches), _CHUNK):
                    chunk = batches[start : start + _CHUNK]
                    await self._deliver(chunk, min(pending[using, batch] for batch in chunk), using)
            self._reading = set()

    async def _deliver(self, batches: list[UUID], after: int, using: str | None) -> None:
        recipients = [next(iter(sockets)).admission.user.pk for sockets in self.sockets.values() if sockets]
        try:
            addressed = await in_database_thread(
                frames.frames_of_batches, batches, after=after, recipients=recipients, using=using
            )
        except Exception as error:  # noqa: BLE001  # the next sweep finds the batches again
            logger.warning("New notifications could not be read: %s.", type(error).__name__)
            return
        now = time.monotonic()
        self._delivered |= dict.fromkeys(batches, now)
        for user, organization, text in addressed:
            for socket in self.sockets.get(user, ()):
                if socket.shows(organization):
                    socket.put(text)

    async def sweep(self) -> None:
        """Read recent batches that no message announced."""
        now = time.monotonic()
        self._delivered = {batch: at for batch, at in self._delivered.items() if now - at < _REMEMBERED_SECONDS}
        last = await in_database_thread(frames.last_key)
        while len(self._floors) > 1 and now - self._floors[1][0] > frames.OVERLAP.total_seconds():
            self._floors.popleft()
        if not self._floors:
            self._floors.append((now, last))
        floor = self._floors[0][1]
        written = await in_database_thread(frames.batches_after, floor)
        known = {*self._delivered, *self._reading, *(batch for _, batch in self._pending)}
        unknown = [batch for batch in written if batch not in known]
        self._floors.append((now, last))
        if len(unknown) > _MAX_SWEPT_BATCHES:
            self._delivered |= dict.fromkeys(unknown, now)
            for socket in self.all():
                socket.put(_RESYNC)
            return
        self._pending |= {(None, batch): floor for batch in unknown}
        if unknown:
            self._wake.set()

    async def _sweep_forever(self) -> None:
        rechecked = pinged = time.monotonic()
        while True:
            await self._guarded(self.sweep())
            now = time.monotonic()
            if now - pinged >= HEARTBEAT_SECONDS:
                pinged = now
                for socket in self.all():
                    if socket.idle:
                        socket.put(_PING)
            if now - rechecked >= conf.SOCKET_RECHECK_SECONDS:
                rechecked = now
                await self._guarded(revalidate(self.all()))
            await asyncio.sleep(min(conf.SOCKET_SWEEP_SECONDS, HEARTBEAT_SECONDS))

    async def _send_hints(self) -> None:
        await asyncio.sleep(HINT_SECONDS)
        hints, self._hints = self._hints, {}
        for kind, organizations in hints.items():
            text = frame("hint", kind=kind)
            for socket in self.all():
                if any(map(socket.shows, organizations)):
                    socket.put_once(text)

    async def _recount(self, socket: Socket, state: dict[str, Any]) -> None:
        changes = {name: value for name, value in state.items() if name not in ("type", "unread", "capped")}
        socket.put(await in_database_thread(frames.state_frame, socket.admission, **changes))

    def _start(self) -> None:
        Hub._hubs[self._loop] = self
        messages.listeners[self._loop] = self.take
        self._listening.clear()
        self._floors.clear()
        self._hints.clear()
        self._run(self._read())
        self._run(self._sweep_forever())
        try:
            subscribe = messages.layer_function("subscribe")
        except Exception as error:  # noqa: BLE001  # sweeps find new rows without a layer
            logger.warning("The channel layer cannot be used: %s.", type(error).__name__)
            subscribe = None
        if subscribe is None:
            self._listening.set()
        else:
            self._run(subscribe(self))

    def listening(self) -> None:
        """Handle a new subscription to the channel layer. After an interruption, look for rows in the database."""
        if self._listening.is_set():
            self._run(self.sweep())
        self._listening.set()

    def _stop(self) -> None:
        messages.listeners.pop(self._loop, None)
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
            # The database is down, or a project's hook failed. The next run tries again.
            logger.exception("A task of the socket hub failed. It is tried again later.")
