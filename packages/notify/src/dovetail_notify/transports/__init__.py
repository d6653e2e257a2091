"""How a notification leaves: ``NOTIFY_TRANSPORTS`` names a class for each channel."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from dovetail_notify.conf import conf
from dovetail_notify.transports.base import Outcome, Transport

__all__ = ["Outcome", "Transport", "is_concurrent", "transport_for"]


def transport_for(channel: str) -> Transport:
    """The transport of a channel. Raises ``KeyError`` where the project has none."""
    return _made(conf.TRANSPORTS[channel], channel)


def is_concurrent(channel: str) -> bool:
    """Whether the channel's transport sends by threads; not where there is none that can be had."""
    try:
        return transport_for(channel).concurrent
    except (KeyError, ImportError):
        return False


@lru_cache(maxsize=64)
def _made(named: Any, channel: str) -> Transport:
    made: Transport = (import_string(named) if isinstance(named, str) else named)(channel)
    return made


def _forget(**kwargs: Any) -> None:
    _made.cache_clear()


setting_changed.connect(_forget, dispatch_uid="dovetail_notify.transports")
