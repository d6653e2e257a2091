"""An inbox for every user, stored in the database and delivered in real time, by e-mail, push and webhook."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from dovetail_notify.types import NotificationType, Rendered

if TYPE_CHECKING:
    from dovetail_notify.base import get_notification_model
    from dovetail_notify.send.fanout import notify

__all__ = ["NotificationType", "Rendered", "get_notification_model", "notify"]

#: These modules need models, which Django loads after it has imported this package.
_LAZY: Final = {"get_notification_model": "dovetail_notify.base", "notify": "dovetail_notify.send.fanout"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
