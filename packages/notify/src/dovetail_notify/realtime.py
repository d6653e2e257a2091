"""Messages to the processes that hold sockets: "there are new rows", "this was read", "close these".

They reach the hubs of this process at once, and those of others through the channel layer where ``CHANNEL_LAYERS``
names one. A message that is lost costs the seconds until a hub's next look at the database.
"""

from __future__ import annotations

import logging
import os
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
        try:
            import_string("dovetail_notify.contrib.channels.relay")({"origin": origin(), "messages": list(messages)})
        except Exception as error:  # noqa: BLE001  # Redis that is away must not fail what was committed
            logger.warning("Sockets of other processes could not be told: %s.", type(error).__name__)


def disconnect(*, user: Any = None, session: str | None = None) -> None:
    """End the sockets of a user (or its key), or those that one session opened, in every process.

    For whoever is signed out, deactivated or no longer of an organization; call it after commit. Sockets close with
    4403, and come back where there is still a credential.
    """
    key = None if user is None else str(getattr(user, "pk", user))
    publish([{"type": "close", "user": key, "session": session}])
