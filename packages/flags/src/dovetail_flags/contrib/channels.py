"""Tells other processes of a change at once by the channel layer of Django Channels::

    FLAGS_INVALIDATION = "dovetail_flags.contrib.channels.ChannelsInvalidation"

The layer must connect processes, as that of channels_redis does. Without it, processes read changes within
``FLAGS_REFRESH_SECONDS``.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Final

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer  # type: ignore[import-untyped]  # channels has no types

from dovetail_flags.providers.base import Invalidation

logger = logging.getLogger("dovetail.flags")

GROUP: Final = "dovetail_flags"
#: Seconds until a process joins the group again, because memberships expire, by default after a day.
JOIN_SECONDS: Final = 3600
RETRY_SECONDS: Final = 2.0


class ChannelsInvalidation(Invalidation):
    """Sends each change to a group, which each process joins in a thread with an event loop of its own."""

    def __init__(self) -> None:
        self._task: tuple[asyncio.AbstractEventLoop, asyncio.Task[None]] | None = None

    def start(self, changed: Callable[[], None]) -> None:
        work = threading.Thread(target=self._run, args=[changed], name="dovetail-flags-channels", daemon=True)
        work.start()

    def publish(self) -> None:
        async_to_sync(_layer().group_send)(GROUP, {"type": "flags.changed"})

    def close(self) -> None:
        if self._task is not None:
            loop, task = self._task
            loop.call_soon_threadsafe(task.cancel)

    def _run(self, changed: Callable[[], None]) -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(self._listen(changed))

    async def _listen(self, changed: Callable[[], None]) -> None:
        task = asyncio.current_task()
        self._task = (asyncio.get_running_loop(), task) if task else None
        reported = False
        while True:
            try:
                async for _message in _messages(changed):
                    reported = False
                    changed()
            except Exception as error:  # noqa: BLE001  # each layer raises the exceptions of its own library
                if not reported:
                    logger.warning("Changes of feature flags do not arrive by the channel layer: %s", error)
                    reported = True
                await asyncio.sleep(RETRY_SECONDS)


async def _messages(joined: Callable[[], None]) -> AsyncIterator[Any]:
    """Join the group, and yield its messages. Messages may have been missed before ``joined`` is called."""
    layer = _layer()
    channel = await layer.new_channel()
    await layer.group_add(GROUP, channel)
    joined()
    while True:
        try:
            async with asyncio.timeout(JOIN_SECONDS):
                message = await layer.receive(channel)
        except TimeoutError:
            await layer.group_add(GROUP, channel)
        else:
            yield message


def _layer() -> Any:
    layer = get_channel_layer()
    if layer is None:
        raise LookupError("CHANNEL_LAYERS has no default layer")
    return layer
