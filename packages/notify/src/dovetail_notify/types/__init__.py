"""Notification types: their base class and registry, and how their payloads are stored and described."""

from __future__ import annotations

from dovetail_notify.types.notification_type import IN_APP, NotificationType, Rendered, current_payload, registry

__all__ = ["IN_APP", "NotificationType", "Rendered", "current_payload", "registry"]
