"""Messages to the processes that hold sockets: "there are new rows", "this was read", "close these".

They reach the hubs of this process at once, and those of others through the channel layer where ``CHANNEL_LAYERS``
names one. A message that is lost costs the seconds until a hub's next look at the database.
"""

from __future__ import annotations

import logging
import os
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.utils.module_loading import import_string

logger = logging.getLogger("dovetail.notify")

Message = dict[str, Any]

#: The hubs of this process, one an event loop.
listeners: dict[AbstractEventLoop, Callable[[Message], None]] = {}

_origin: tuple[int, str] = (0, "")


def origin() -> str:
    """Tells this process's own messages when they come back from the layer; another one after a fork."""
    global _origin
    if _origin[0] != os.getpid():
        _origin = (os.getpid(), uuid4().hex)
    return _origin[1]


def publish(messages: Sequence[Message]) -> None:
    """Send; after commit. Raises nothing: what a socket hears late, its inbox has."""
    for loop, take in list(listeners.items()):
        for message in messages:
            if not loop.is_closed():
                loop.call_soon_threadsafe(take, message)
    if getattr(settings, "CHANNEL_LAYERS", None):
        relay = import_string("dovetail_notify.contrib.channels.relay")
        _layer.call("Sockets of other processes", relay, {"origin": origin(), "messages": list(messages)})


class Hinting:
    """Tells a service that may be away, and then lets it be for ten seconds.

    Clients of Redis and of brokers try for seconds before they give up, and a request must not wait for each hint: what
    they would be told of is found without them.
    """

    def __init__(self) -> None:
        self._again_at = 0.0

    def call(self, whom: str, function: Callable[..., Any], *args: Any) -> None:
        if time.monotonic() < self._again_at:
            return
        try:
            function(*args)
        except Exception as error:  # noqa: BLE001  # of clients, which are many; what was committed must not fail
            self._again_at = time.monotonic() + 10
            # Without the text, which may have an address with a password in it.
            logger.warning("%s could not be told: %s.", whom, type(error).__name__)


_layer = Hinting()


def disconnect(*, user: Any = None, session: str | None = None) -> None:
    """End the sockets of a user (or its key), or those that one session opened, in every process.

    For whoever is signed out, deactivated or no longer of an organization; call it after commit. Sockets close with
    4403, and come back where there is still a credential.
    """
    key = None if user is None else str(getattr(user, "pk", user))
    publish([{"type": "close", "user": key, "session": session}])
