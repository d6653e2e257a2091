"""Messages between processes over a channel layer, with one group and one channel per process."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from channels import layers  # type: ignore[import-untyped]  # has no types

from dovetail_notify.realtime.messages import Message, process_id, statistics

if TYPE_CHECKING:
    from dovetail_notify.realtime.hub import Hub

logger = logging.getLogger("dovetail.notify")

GROUP: Final = "dovetail_notify"

_QUEUE_SIZE = 1000
_MAX_PAUSE = 2.0
# The core layer drops group members after group_expiry, by default a day, without notice.
_JOIN_AGAIN_SECONDS = 60
_FLUSH_SECONDS = 2.0


def reaches_other_processes() -> bool:
    """Return False for a layer in memory. It only reaches this process, whose hub gets messages directly."""
    layer = layers.get_channel_layer()
    return layer is not None and not isinstance(layer, layers.InMemoryChannelLayer)


class _Retries:
    """The pauses between attempts to reach the layer. Only the first of several failures is logged."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._pause, self._failing = 0.1, False

    async def wait(self, error: Exception) -> None:
        if not self._failing:
            # Not the error's text, which may contain an address with a password.
            logger.warning("The channel layer cannot be reached: %s. Trying again.", type(error).__name__)
        self._failing = True
        await asyncio.sleep(self._pause)
        self._pause = min(self._pause * 2, _MAX_PAUSE)


@dataclass
class _Lost:
    """What remains of dropped messages: their users, the messages that close sockets, and one of equal hints."""

    users: set[str] = field(default_factory=set)
    everyone: bool = False
    closing: list[Message] = field(default_factory=list)
    hints: dict[tuple[str, str | None], Message] = field(default_factory=dict)

    def add(self, messages: Iterable[Message]) -> None:
        for message in messages:
            users = message.get("users", ())
            if message["type"] == "hint":
                self.hints[message["kind"], message["organization"]] = message
            if users is None or len(self.users) > _QUEUE_SIZE or len(self.hints) > _QUEUE_SIZE:
                self.everyone = True
            else:
                self.users.update(users)
            # A hub cannot find out later that disconnect() was called.
            if message["type"] == "close" and len(self.closing) < _QUEUE_SIZE:
                self.closing.append(message)

    def messages(self) -> list[Message]:
        # After "resync", clients also read again what hints are about.
        hints = [] if self.everyone else self.hints.values()
        return [*self.closing, *hints, {"type": "lost", "users": None if self.everyone else sorted(self.users)}]


class SenderThread:
    """A thread with its own event loop that sends messages to the channel layer.

    ``async_to_sync(layer.group_send)`` would open an event loop and a connection for each call, and a request that has
    just committed would wait for a Redis that is down. While the layer is down, the thread keeps the last
    ``_QUEUE_SIZE`` messages and tries again. It drops earlier messages. After the last one, it sends one message about
    them, because their users would otherwise not learn of changes that no new row shows.
    """

    def __init__(self) -> None:
        self._queue: deque[Message] = deque()
        self._lost: _Lost | None = None
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._wake = asyncio.Event()
        run = partial(self._loop.run_until_complete, self._send())
        threading.Thread(target=run, name="dovetail_notify.sender", daemon=True).start()

    def put(self, content: Message) -> None:
        with self._lock:
            if len(self._queue) >= _QUEUE_SIZE:
                statistics.dropped += 1
                self._lost = self._lost or _Lost()
                self._lost.add(self._queue.popleft()["messages"])
            self._queue.append(content)
        self._loop.call_soon_threadsafe(self._wake.set)

    def flush(self, seconds: float = _FLUSH_SECONDS) -> bool:
        """Wait until everything is sent. Called when the process ends, perhaps right after a notification."""
        end = time.monotonic() + seconds
        while (self._queue or self._lost) and time.monotonic() < end:
            time.sleep(0.01)
        return not (self._queue or self._lost)

    def _next(self) -> Message | None:
        with self._lock:
            if not self._queue and self._lost is not None:
                self._queue.append({"origin": process_id(), "messages": self._lost.messages()})
                self._lost = None
            return self._queue[0] if self._queue else None

    def _remove(self, content: Message) -> None:
        with self._lock:
            if self._queue and self._queue[0] is content:
                self._queue.popleft()

    def _clear(self) -> None:
        with self._lock:
            self._queue.clear()
            self._lost = None

    async def _send(self) -> None:
        retries = _Retries()
        while True:
            if (content := self._next()) is None:
                await self._wake.wait()
                self._wake.clear()
                continue
            try:
                if not reaches_other_processes():
                    self._clear()
                    continue
                message = {"type": "dovetail.notify", **content}
                await asyncio.wait_for(layers.get_channel_layer().group_send(GROUP, message), _MAX_PAUSE * 2)
            except Exception as error:  # noqa: BLE001  # any layer's error
                statistics.failures += 1
                await retries.wait(error)
                continue
            retries.reset()
            statistics.relayed += len(content["messages"])
            self._remove(content)


_sender: tuple[int, SenderThread] | None = None
_start_lock = threading.Lock()


def relay(content: Message) -> None:
    """Send a message to other processes in the thread of this process. A fork starts a thread of its own."""
    global _sender
    with _start_lock:
        if _sender is None or _sender[0] != os.getpid():
            _sender = (os.getpid(), SenderThread())
            atexit.register(_sender[1].flush)
    _sender[1].put(content)


async def subscribe(hub: Hub) -> None:
    """Receive messages for all sockets of this process, and join the group again after a failure."""
    retries = _Retries()
    while True:
        layer = layers.get_channel_layer()
        try:
            channel = await layer.new_channel()
            await layer.group_add(GROUP, channel)
            retries.reset()
            hub.listening()
            await _receive(hub, layer, channel)
        except Exception as error:  # noqa: BLE001  # any layer's error
            await retries.wait(error)


async def _receive(hub: Hub, layer: layers.BaseChannelLayer, channel: str) -> None:
    membership = asyncio.create_task(_keep_joined(layer, channel))
    try:
        while True:
            message = await layer.receive(channel)
            if message.get("origin") != process_id():
                for content in message["messages"]:
                    hub.take(content)
    finally:
        membership.cancel()


async def _keep_joined(layer: layers.BaseChannelLayer, channel: str) -> None:
    try:
        while True:
            await asyncio.sleep(_JOIN_AGAIN_SECONDS)
            with suppress(Exception):  # receive() reports a layer that is down
                await layer.group_add(GROUP, channel)
    finally:
        # Otherwise the core layer writes to the closed channel for a day.
        with suppress(Exception):
            await asyncio.wait_for(layer.group_discard(GROUP, channel), 1)
