"""Push messages to users' devices with Web Push, FCM and APNs."""

from __future__ import annotations

from dovetail_notify.transports.push.base import PushMessage, Result, Sender
from dovetail_notify.transports.push.transport import PushTransport

__all__ = ["PushMessage", "PushTransport", "Result", "Sender"]
