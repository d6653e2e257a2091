"""Helpers for the tests of projects that use this package."""

from __future__ import annotations

from typing import Any

from dovetail_notify.base import get_notification_model
from dovetail_notify.testing.sockets import NotificationSocket
from dovetail_notify.testing.transports import FakePush, FakeTransport
from dovetail_notify.types import NotificationType

__all__ = ["FakePush", "FakeTransport", "NotificationSocket", "sent_notifications"]


def sent_notifications(cls: type[NotificationType] | None = None, *, to: Any = None) -> list[Any]:
    """Return the notifications of all inboxes or of one user's, of all types or of one; oldest first."""
    rows = get_notification_model()._default_manager.order_by("pk")
    if cls is not None:
        rows = rows.filter(type=cls.key)
    return list(rows if to is None else rows.filter(recipient=to))
