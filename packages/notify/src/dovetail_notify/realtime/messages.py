"""Messages to the processes that hold sockets: new rows, changed rows, sockets to close or to check again.

The hubs of this process get messages directly. Other processes get them through the channel layer, if
``CHANNEL_LAYERS`` names one. After a lost message, hubs find new rows in the database within
``NOTIFY_SOCKET_SWEEP_SECONDS``.
"""

from __future__ import annotations

import logging
import os
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
    """Counters of the messages from this process to others since it started, for metrics."""

    relayed: int = 0
    failures: int = 0
    dropped: int = 0


statistics = Statistics()

#: The hubs of this process, one per event loop.
listeners: dict[AbstractEventLoop, Callable[[Message], None]] = {}

_id: tuple[int, str] = (0, "")


def process_id() -> str:
    """Return the id by which this process recognizes its own messages. A fork gets a new one."""
    global _id
    if _id[0] != os.getpid():
        _id = (os.getpid(), uuid4().hex)
    return _id[1]


def publish(messages: Sequence[Message]) -> None:
    """Send messages; call it after commit. It neither raises nor waits: hubs also find new rows in the database."""
    for loop, take in list(listeners.items()):
        for message in messages:
            if not loop.is_closed():
                loop.call_soon_threadsafe(take, message)
    try:
        if (relay := layer_function("relay")) is not None:
            relay({"origin": process_id(), "messages": list(messages)})
    except Exception as error:  # noqa: BLE001  # a faulty layer must not fail what is already committed
        statistics.failures += 1
        logger.warning("Messages to other processes could not be sent: %s.", type(error).__name__)


def layer_function(name: str) -> Any:
    """Return a function of ``realtime.channels.layer``, or None without a layer that reaches other processes.

    The function is imported by its path, because Channels is optional.
    """
    if not getattr(settings, "CHANNEL_LAYERS", None):
        return None
    path = "dovetail_notify.realtime.channels.layer"
    return import_string(f"{path}.{name}") if import_string(f"{path}.reaches_other_processes")() else None


def disconnect(
    *, user: object = None, session: str | None = None, organization: object = None, reason: str = "session_revoked"
) -> None:
    """Close the sockets of a user, of a session or for an organization, in every process.

    ``user`` and ``organization`` are model instances or their keys. If there are several arguments, a socket must match
    all of them. Call it after commit, when a user is signed out, deactivated or removed from an organization. Sockets
    close with 4403 and ``reason``. Clients that still have a credential reconnect. Raise ``TypeError`` without any of
    the three arguments.
    """
    if user is None and session is None and organization is None:
        raise TypeError("disconnect() takes user=, session= or organization=.")
    content = {"user": key_text(user), "session": session, "organization": key_text(organization), "reason": reason}
    publish([{"type": "close", **content}])


def recheck(user: object = None) -> None:
    """Check now whether the sockets of a user, or all sockets, may stay open, and which organizations they show."""
    publish([{"type": "recheck", "user": key_text(user)}])


def key_text(value: object) -> str | None:
    return None if value is None else str(getattr(value, "pk", value))
