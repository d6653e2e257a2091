"""One hub a process (an event loop, to be exact): one subscription to the channel layer, and fan-out to sockets here.

A subscription for each socket, as Channels' own groups have it, costs the layer a message and this process a task for
each.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import InterfaceError, OperationalError, connections, router
from django.utils import timezone
from django.utils.module_loading import import_string

from dovetail_notify import frames, get_notification_model, realtime
from dovetail_notify.inbox import organization_keys
from dovetail_notify.tickets import Admission

logger = logging.getLogger("dovetail.notify")
T = TypeVar("T")

QUEUE: Final = 64
SOCKETS_PER_USER: Final = 10
#: Seconds between two looks at the database, which find what no message told of.
SWEEP_SECONDS: Final = 15.0
EXPIRY_NOTICE: Final = 60

UNAUTHENTICATED: Final = 4401
FORBIDDEN: Final = 4403
BAD_PROTOCOL: Final = 4406
EXPIRED: Final = 4408
TOO_MANY: Final = 4429

_RESYNC = frames.encode({"type": "resync"})


class Member:
    """One socket or stream. Its frames wait in a queue of its own, so that a slow one delays nobody."""

    def __init__(self, admission: Admission, keys: list[str] | None) -> None:
        self.user = admission.user
        self.user_key = str(admission.user.pk)
        self.organization_key = admission.organization_key
        self.keys = keys
        self.session = admission.session
        self.expires_at: datetime | None = admission.expires_at
        self.warned = False
        #: Texts, and at the end the code to close with.
        self.queue: asyncio.Queue[str | int] = asyncio.Queue(QUEUE)
        self._recent: OrderedDict[int, None] = OrderedDict()

    def put(self, text: str) -> None:
        if self.queue.full():
            # It will read its inbox anew: what waited for it is all there.
            self._clear()
            text = _RESYNC
        self.queue.put_nowait(text)

    def offer(self, frame: frames.Frame) -> None:
        """A notification, unless it has had it or may not see it."""
        if frame.pk in self._recent or not self._may_see(frame.organization_key):
            return
        self._recent[frame.pk] = None
        if len(self._recent) > 1000:
            self._recent.popitem(last=False)
        self.put(frame.text)

    def close(self, code: int) -> None:
        self._clear()
        self.queue.put_nowait(code)

    def _may_see(self, organization_key: str | None) -> bool:
        if organization_key is None:
            return True
        allowed = self.keys is None or organization_key in self.keys
        return allowed and self.organization_key in (None, organization_key)

    def _clear(self) -> None:
        while not self.queue.empty():
            self.queue.get_nowait()


class Hub:
    """Runs while there are members. All methods are of its event loop, except ``take``'s caller may be any thread."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.members: dict[str, set[Member]] = {}
        self._waiting: dict[str, int] = {}
        self._woken = asyncio.Event()
        self._subscribed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._executor: ThreadPoolExecutor | None = None
        # Where the table ended at each look back, for the overlap.
        self._ends: deque[tuple[float, int]] = deque()
        self._using = router.db_for_write(get_notification_model())

    async def admit(self, admission: Admission) -> Member | None:
        """A member that hears from now on; None for who has ``SOCKETS_PER_USER`` already."""
        self._start()
        if len(self.members.get(str(admission.user.pk), ())) >= SOCKETS_PER_USER:
            return None
        member = Member(admission, None)
        # Joined before anything is read: what comes between would be in neither.
        self.members.setdefault(member.user_key, set()).add(member)
        try:
            member.keys = await self.query(organization_keys, admission.user)
            # A layer that is away must not keep sockets out: looks at the database serve them meanwhile.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._subscribed.wait(), 2)
        except BaseException:
            await self.leave(member)
            raise
        return member

    async def leave(self, member: Member) -> None:
        of_user = self.members.get(member.user_key, set())
        of_user.discard(member)
        if not of_user:
            self.members.pop(member.user_key, None)
        await self.rest()

    async def rest(self) -> None:
        """Let go of thread, connection and subscription where nobody is here."""
        if not self.members:
            await self._stop()

    async def hello(self, member: Member) -> str:
        frame = await self.query(frames.hello, member.user, member.keys, member.organization_key, self._using)
        left = None if member.expires_at is None else int((member.expires_at - timezone.now()).total_seconds())
        return frames.encode({**frame, "expires_in": left})

    async def replay(self, member: Member, cursor: int) -> list[str]:
        found = await self.query(frames.replay, member.user, cursor, member.keys, member.organization_key, self._using)
        return [_RESYNC] if found is None else found

    async def query(self, function: Callable[..., T], *args: Any) -> T:
        """Run in the hub's one thread, which keeps its connection: views' threads are left to views."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="dovetail-notify")
        return await asyncio.get_running_loop().run_in_executor(self._executor, _with_connection, function, *args)

    def take(self, message: realtime.Message) -> None:
        """A message of ``realtime.publish``."""
        if message["type"] == "rows":
            users = self.members if message["users"] is None else self.members.keys() & set(message["users"])
            for key in users:
                self._waiting[key] = min(self._waiting.get(key, message["after"]), message["after"])
            self._woken.set()
        elif message["type"] == "frame":
            text = frames.encode(message["frame"])  # once for all
            for key in self.members if message["users"] is None else message["users"]:
                for member in self.members.get(key, ()):
                    member.put(text)
        elif message["type"] == "close":
            for member in self._all():
                if message["user"] in (None, member.user_key) and message["session"] in (None, member.session):
                    member.close(FORBIDDEN)

    def _all(self) -> list[Member]:
        return [member for members in self.members.values() for member in members]

    def _start(self) -> None:
        if not self._tasks:
            loop = asyncio.get_running_loop()
            realtime.listeners[loop] = self.take
            work = (self._listen, self._read, self._sweep, self._watch_expiry)
            self._tasks = [loop.create_task(self._again(each)) for each in work]

    async def _stop(self) -> None:
        realtime.listeners.pop(asyncio.get_running_loop(), None)
        tasks, executor = self._tasks, self._executor
        # All of it before the first await: who comes meanwhile begins anew.
        self._reset()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if executor is not None:
            await asyncio.get_running_loop().run_in_executor(executor, connections.close_all)
            executor.shutdown(wait=False)

    async def _again(self, work: Callable[[], Awaitable[None]]) -> None:
        """A task that ends by an error begins anew: a database or a Redis that was away for a moment."""
        while True:
            try:
                await work()
                return
            except Exception as error:  # noqa: BLE001  # of drivers, which are many
                logger.warning("Notifications' %s: %s.", work.__name__.strip("_"), type(error).__name__)
                await asyncio.sleep(1)

    async def _listen(self) -> None:
        if not getattr(settings, "CHANNEL_LAYERS", None):
            self._subscribed.set()
            return
        subscribe = import_string("dovetail_notify.contrib.channels.subscribe")
        async with contextlib.aclosing(subscribe(self._hear_again)) as envelopes:
            async for envelope in envelopes:
                if envelope["origin"] != realtime.origin():  # ours came by the shorter way
                    for message in envelope["messages"]:
                        self.take(message)

    def _hear_again(self) -> None:
        """The subscription stands; what was said before it did is looked up."""
        self._subscribed.set()
        if self._ends:
            self.take({"type": "rows", "users": None, "after": self._ends[0][1]})

    async def _read(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            waiting, self._waiting = self._waiting, {}
            try:
                await self._offer(waiting)
            except BaseException:
                for key, after in waiting.items():
                    self._waiting[key] = min(self._waiting.get(key, after), after)
                self._woken.set()
                raise

    async def _offer(self, waiting: dict[str, int]) -> None:
        present = [key for key in waiting if key in self.members]
        if not present:
            return
        after = min(waiting[key] for key in present)
        for frame in await self.query(lambda: list(frames.rows_after(after, present, self._using))):
            for member in self.members.get(frame.user_key, ()):
                member.offer(frame)

    async def _sweep(self) -> None:
        self._ends.append((time.monotonic(), await self.query(frames.last_key, self._using)))
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = time.monotonic()
            while len(self._ends) > 1 and self._ends[1][0] <= now - frames.OVERLAP.total_seconds():
                self._ends.popleft()
            after = self._ends[0][1]
            self._ends.append((now, await self.query(frames.last_key, self._using)))
            self.take({"type": "rows", "users": None, "after": after})
            await self._close_inactive()

    async def _close_inactive(self) -> None:
        users = list(self.members)
        active = await self.query(_active, users)
        for key in users:
            for member in self.members.get(key, ()) if key not in active else ():
                member.close(FORBIDDEN)

    async def _watch_expiry(self) -> None:
        while True:
            await asyncio.sleep(1)
            now = timezone.now()
            for member in self._all():
                if member.expires_at is None:
                    continue
                left = (member.expires_at - now).total_seconds()
                if left <= 0:
                    member.close(EXPIRED)
                elif left <= EXPIRY_NOTICE and not member.warned:
                    member.warned = True
                    member.put(frames.encode({"type": "expiring", "in": int(left)}))


def _with_connection(function: Callable[..., T], *args: Any) -> T:
    try:
        return function(*args)
    except (InterfaceError, OperationalError):
        # The database closed it while nobody asked: once more with another.
        connections.close_all()
        return function(*args)


def _active(users: list[str]) -> set[str]:
    rows = get_user_model()._base_manager.all()
    if any(field.name == "is_active" for field in get_user_model()._meta.concrete_fields):
        rows = rows.filter(is_active=True)
    found: set[str] = set()
    for start in range(0, len(users), 500):
        found |= {str(key) for key in rows.filter(pk__in=users[start : start + 500]).values_list("pk", flat=True)}
    return found


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def current_hub() -> Hub:
    """The hub of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]
