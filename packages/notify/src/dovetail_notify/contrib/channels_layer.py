"""The way from one process to the sockets of another: a channel layer with one group and one channel a process."""

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

from dovetail_notify import realtime

if TYPE_CHECKING:
    from dovetail_notify.hub import Hub

logger = logging.getLogger("dovetail.notify")

GROUP: Final = "dovetail_notify"

_KEPT = 1000
_LONGEST_WAIT = 2.0
# The core layer forgets who joined a group after group_expiry, a day by default, of which only its next message tells.
_JOIN_AGAIN_SECONDS = 60
_FLUSH_SECONDS = 2.0


def leads_elsewhere() -> bool:
    """A layer in memory reaches this process alone, and its hub hears without it."""
    found = get_channel_layer()
    return found is not None and not isinstance(found, InMemoryChannelLayer)


# --- Out --------------------------------------------------------------------------------------------------------------


class Courier:
    """A thread with an event loop of its own, that sends what it is given.

    ``async_to_sync(layer.group_send)`` would open an event loop and a connection for each call, and wait for a Redis
    that is away in the request that has just committed. While the layer is away it keeps the last ``_KEPT`` messages
    and tries again.
    """

    def __init__(self) -> None:
        self._kept: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._loop = asyncio.new_event_loop()
        self._wake = asyncio.Event()
        threading.Thread(target=self._run, name="dovetail_notify.courier", daemon=True).start()

    def give(self, content: dict[str, Any]) -> None:
        if len(self._kept) == _KEPT:
            realtime.statistics.dropped += 1
        self._kept.append(content)
        self._loop.call_soon_threadsafe(self._wake.set)

    def flush(self, seconds: float = _FLUSH_SECONDS) -> bool:
        """Wait until everything is sent; for the end of a command that has just notified somebody."""
        end = time.monotonic() + seconds
        while self._kept and time.monotonic() < end:
            time.sleep(0.01)
        return not self._kept

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._send())

    async def _send(self) -> None:
        pause, away = 0.1, False
        while True:
            if not self._kept:
                await self._wake.wait()
                self._wake.clear()
                continue
            content = self._kept[0]
            try:
                if not leads_elsewhere():
                    self._kept.clear()
                    continue
                await asyncio.wait_for(_group_send(content), _LONGEST_WAIT * 2)
            except Exception as error:  # noqa: BLE001  # of whatever layer; its text may hold the address with password
                realtime.statistics.failures += 1
                if not away:
                    logger.warning("The channel layer cannot be reached: %s. Trying again.", type(error).__name__)
                away = True
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_WAIT)
                continue
            pause, away = 0.1, False
            realtime.statistics.relayed += len(content["messages"])
            if self._kept and self._kept[0] is content:
                self._kept.popleft()


_courier: tuple[int, Courier] | None = None
_making = threading.Lock()


def courier() -> Courier:
    """This process's own: threads do not live on in a fork."""
    global _courier
    with _making:
        if _courier is None or _courier[0] != os.getpid():
            _courier = (os.getpid(), Courier())
            atexit.register(_courier[1].flush)
        return _courier[1]


def relay(content: dict[str, Any]) -> None:
    courier().give(content)


async def _group_send(content: dict[str, Any]) -> None:
    await get_channel_layer().group_send(GROUP, {"type": "dovetail.notify", **content})


# --- In ---------------------------------------------------------------------------------------------------------------


async def subscribe(hub: Hub) -> None:
    """Listen for all sockets of this process, and join again whenever the layer was away."""
    pause, away = 0.1, False
    while True:
        layer = get_channel_layer()
        try:
            channel = await layer.new_channel()
            await layer.group_add(GROUP, channel)
            pause, away = 0.1, False
            hub.listening()
            await _receive(hub, layer, channel)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  # as above
            if not away:
                logger.warning("The channel layer cannot be reached: %s. Trying again.", type(error).__name__)
            away = True
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_WAIT)


async def _receive(hub: Hub, layer: Any, channel: str) -> None:
    membership = asyncio.create_task(_keep_joined(layer, channel))
    try:
        while True:
            message = await layer.receive(channel)
            if message.get("origin") != realtime.origin():
                for each in message["messages"]:
                    hub.take(each)
    finally:
        membership.cancel()


async def _keep_joined(layer: Any, channel: str) -> None:
    try:
        while True:
            await asyncio.sleep(_JOIN_AGAIN_SECONDS)
            with suppress(Exception):  # the layer is away, which whoever receives notices
                await layer.group_add(GROUP, channel)
    finally:
        # Or the core layer writes to a dead channel for a day.
        with suppress(Exception):
            await asyncio.wait_for(layer.group_discard(GROUP, channel), 1)
