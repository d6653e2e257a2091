"""Messages to the processes that hold sockets: new rows, changed rows, sockets to close or to check again.

They reach the hub of this process directly, and other processes through the channel layer if ``CHANNEL_LAYERS`` names
one. After a lost message, hubs find new rows at their next look at the database, seconds later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from dovetail_notify.realtime.process import Message, listeners, process_id, statistics

logger = logging.getLogger("dovetail.notify")


def publish(messages: Sequence[Message]) -> None:
    """Send messages; call it after commit. Neither raises nor waits, because the inbox has what a message announces."""
    for loop, take in list(listeners.items()):
        for message in messages:
            if not loop.is_closed():
                loop.call_soon_threadsafe(take, message)
    try:
        if (relay := layer_function("relay")) is not None:
            relay({"origin": process_id(), "messages": list(messages)})
    except Exception as error:  # noqa: BLE001  # a faulty layer must not fail what is already committed
        statistics.failures += 1
        logger.warning("Sockets of other processes could not be told: %s.", type(error).__name__)


def layer_function(name: str) -> Any:
    """Return a function of ``realtime.channels.layer``, or None without a layer that reaches other processes.

    Imported by its path, because Channels is optional.
    """
    if not getattr(settings, "CHANNEL_LAYERS", None):
        return None
    reaches_others: Callable[[], bool] = import_string(
        "dovetail_notify.realtime.channels.layer.reaches_other_processes"
    )
    return import_string(f"dovetail_notify.realtime.channels.layer.{name}") if reaches_others() else None


def disconnect(
    *, user: Any = None, session: str | None = None, organization: Any = None, reason: str = "session_revoked"
) -> None:
    """Close the sockets of a user (or its key), of one session or for one organization, in every process.

    If several arguments are given, all of them must match. Call it after commit, when somebody is signed out,
    deactivated or removed from an organization. Sockets close with 4403 and ``reason``; clients reconnect if they still
    have a credential.
    """
    if user is None and session is None and organization is None:
        raise TypeError("disconnect() takes user=, session= or organization=.")
    publish(
        [{"type": "close", "user": key(user), "session": session, "organization": key(organization), "reason": reason}]
    )


def recheck(user: Any = None) -> None:
    """Check now whether the sockets of a user, or all, may stay open, and which organizations they show."""
    publish([{"type": "recheck", "user": key(user)}])


def key(value: Any) -> str | None:
    return None if value is None else str(getattr(value, "pk", value))
