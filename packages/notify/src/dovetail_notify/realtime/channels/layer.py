"""Messages between processes over a channel layer, with one group and one channel per process."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from channels.layers import InMemoryChannelLayer, get_channel_layer  # type: ignore[import-untyped]  # has no types

from dovetail_notify.realtime.process import process_id, statistics

if TYPE_CHECKING:
    from dovetail_notify.realtime.hub import Hub

logger = logging.getLogger("dovetail.notify")

GROUP: Final = "dovetail_notify"

_QUEUE_SIZE = 1000
_MAX_PAUSE = 2.0
# The core layer drops group members after group_expiry, a day by default, without notice.
_JOIN_AGAIN_SECONDS = 60
_FLUSH_SECONDS = 2.0


def reaches_other_processes() -> bool:
    """Return False for a layer in memory, which reaches only this process; its hub gets messages directly."""
    layer = get_channel_layer()
    return layer is not None and not isinstance(layer, InMemoryChannelLayer)


# --- Sending ----------------------------------------------------------------------------------------------------------


class SenderThread:
    """A thread with its own event loop that sends messages to the channel layer.

    ``async_to_sync(layer.group_send)`` would open an event loop and a connection for each call, and a request that has
    just committed would wait for a Redis that is down. While the layer is down, the thread keeps the last
    ``_QUEUE_SIZE`` messages and retries.
    """

    def __init__(self) -> None:
        self._queue: deque[dict[str, Any]] = deque(maxlen=_QUEUE_SIZE)
        self._loop = asyncio.new_event_loop()
        self._wake = asyncio.Event()
        threading.Thread(target=self._run, name="dovetail_notify.sender", daemon=True).start()

    def put(self, content: dict[str, Any]) -> None:
        if len(self._queue) == _QUEUE_SIZE:
            statistics.dropped += 1
        self._queue.append(content)
        self._loop.call_soon_threadsafe(self._wake.set)

    def flush(self, seconds: float = _FLUSH_SECONDS) -> bool:
        """Wait until everything is sent. Called when the process ends, which may be right after a notification."""
        end = time.monotonic() + seconds
        while self._queue and time.monotonic() < end:
            time.sleep(0.01)
        return not self._queue

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._send())

    async def _send(self) -> None:
        pause, failing = 0.1, False
        while True:
            if not self._queue:
                await self._wake.wait()
                self._wake.clear()
                continue
            content = self._queue[0]
            try:
                if not reaches_other_processes():
                    self._queue.clear()
                    continue
                await asyncio.wait_for(_group_send(content), _MAX_PAUSE * 2)
            except Exception as error:  # noqa: BLE001  # any layer's error; its text may contain an address with a password
                statistics.failures += 1
                if not failing:
                    logger.warning("The channel layer cannot be reached: %s. Trying again.", type(error).__name__)
                failing = True
                await asyncio.sleep(pause)
                pause = min(pause * 2, _MAX_PAUSE)
                continue
            pause, failing = 0.1, False
            statistics.relayed += len(content["messages"])
            if self._queue and self._queue[0] is content:
                self._queue.popleft()


_sender: tuple[int, SenderThread] | None = None
_start_lock = threading.Lock()


def sender() -> SenderThread:
    """Return the thread of this process; a fork has no threads and starts its own."""
    global _sender
    with _start_lock:
        if _sender is None or _sender[0] != os.getpid():
            _sender = (os.getpid(), SenderThread())
            atexit.register(_sender[1].flush)
        return _sender[1]


def relay(content: dict[str, Any]) -> None:
    sender().put(content)


async def _group_send(content: dict[str, Any]) -> None:
    await get_channel_layer().group_send(GROUP, {"type": "dovetail.notify", **content})


# --- Receiving --------------------------------------------------------------------------------------------------------


async def subscribe(hub: Hub) -> None:
    """Receive messages for all sockets of this process, and join the group again after a failure."""
    pause, failing = 0.1, False
    while True:
        layer = get_channel_layer()
        try:
            channel = await layer.new_channel()
            await layer.group_add(GROUP, channel)
            pause, failing = 0.1, False
            hub.listening()
            await _receive(hub, layer, channel)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  # any layer's error, as above
            if not failing:
                logger.warning("The channel layer cannot be reached: %s. Trying again.", type(error).__name__)
            failing = True
            await asyncio.sleep(pause)
            pause = min(pause * 2, _MAX_PAUSE)


async def _receive(hub: Hub, layer: Any, channel: str) -> None:
    membership = asyncio.create_task(_keep_joined(layer, channel))
    try:
        while True:
            message = await layer.receive(channel)
            if message.get("origin") != process_id():
                for content in message["messages"]:
                    hub.take(content)
    finally:
        membership.cancel()


async def _keep_joined(layer: Any, channel: str) -> None:
    try:
        while True:
            await asyncio.sleep(_JOIN_AGAIN_SECONDS)
            with suppress(Exception):  # the layer is down, which receive() reports
                await layer.group_add(GROUP, channel)
    finally:
        # Otherwise the core layer writes to the dead channel for a day.
        with suppress(Exception):
            await asyncio.wait_for(layer.group_discard(GROUP, channel), 1)
