"""Messages to the processes that hold sockets: "there are new rows", "this was read", "close these".

They reach the hub of this process at once, and those of others through the channel layer where ``CHANNEL_LAYERS``
names one. A message that is lost costs the seconds until a hub's next look at the database.
"""

from __future__ import annotations

import logging
import os
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.utils.module_loading import import_string

logger = logging.getLogger("dovetail.notify")

Message = dict[str, Any]


@dataclass(slots=True)
class Statistics:
    """Messages of this process to others since it began: for its metrics."""

    relayed: int = 0
    failures: int = 0
    dropped: int = 0


statistics = Statistics()

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
    """Send; after commit. Neither raises nor waits: what a socket hears late, its inbox has."""
    for loop, take in list(listeners.items()):
        for message in messages:
            if not loop.is_closed():
                loop.call_soon_threadsafe(take, message)
    try:
        if (relay := layer("relay")) is not None:
            relay({"origin": origin(), "messages": list(messages)})
    except Exception as error:  # noqa: BLE001  # whatever is wrong with the layer must not fail what was committed
        statistics.failures += 1
        logger.warning("Sockets of other processes could not be told: %s.", type(error).__name__)


class Hinting:
    """Tells a service that may be away, and then lets it be for ten seconds.

    Clients of brokers try for seconds before they give up, and a request must not wait for each hint: what they would
    be told of is found without them.
    """

    def __init__(self) -> None:
        self._again_at = 0.0
        self._failed = False

    def call(self, whom: str, function: Callable[..., Any], *args: Any) -> None:
        if time.monotonic() < self._again_at:
            return
        if self._failed:
            # One request asks whether it is back; the others of this process do not wait for the answer.
            self._again_at = time.monotonic() + 10
        try:
            function(*args)
            self._failed, self._again_at = False, 0.0
        except Exception as error:  # noqa: BLE001  # of clients, which are many; what was committed must not fail
            self._failed, self._again_at = True, time.monotonic() + 10
            # Without the text, which may have an address with a password in it.
            logger.warning("%s could not be told: %s.", whom, type(error).__name__)


def layer(name: str) -> Any:
    """A function of the channel layer's side; None where there is no layer that leads to other processes."""
    if not getattr(settings, "CHANNEL_LAYERS", None):
        return None
    available: Callable[[], bool] = import_string("dovetail_notify.contrib.channels_layer.leads_elsewhere")
    return import_string(f"dovetail_notify.contrib.channels_layer.{name}") if available() else None


def disconnect(
    *, user: Any = None, session: str | None = None, organization: Any = None, reason: str = "session_revoked"
) -> None:
    """End the sockets of a user (or its key), those that one session opened, or those for one organization, in every
    process; what is given must all apply.

    For whoever is signed out, deactivated or no longer of an organization; call it after commit. Sockets close with
    4403 and ``reason``, and come back where there is still a credential.
    """
    if user is None and session is None and organization is None:
        raise TypeError("disconnect() takes user=, session= or organization=.")
    publish(
        [{"type": "close", "user": key(user), "session": session, "organization": key(organization), "reason": reason}]
    )


def recheck(user: Any = None) -> None:
    """Look at once whether the sockets of a user, or all, may still be, and of which organizations they tell."""
    publish([{"type": "recheck", "user": key(user)}])


def key(value: Any) -> str | None:
    return None if value is None else str(getattr(value, "pk", value))
