"""The transports that ``NOTIFY_TRANSPORTS`` names, one for each channel."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from dovetail_notify.conf import conf
from dovetail_notify.transports.base import Transport
from dovetail_notify.types import IN_APP, NotificationType


def transport_for(channel: str) -> Transport:
    """Return the channel's transport. Raises ``KeyError`` if the project has none."""
    return _make(conf.TRANSPORTS[channel], channel)


def is_concurrent(channel: str) -> bool:
    """Return whether the channel's transport sends in threads; False if it cannot be imported."""
    try:
        return transport_for(channel).concurrent
    except (KeyError, ImportError):
        return False


def available_channels(cls: type[NotificationType]) -> list[str]:
    """Return the channels that the type names and for which the project has a transport; the inbox needs none."""
    return [channel for channel in cls.channels if channel == IN_APP or channel in conf.TRANSPORTS]


def required_channels(cls: type[NotificationType]) -> set[str]:
    return set(cls.required).intersection(available_channels(cls))


@lru_cache(maxsize=64)
def _make(transport: Any, channel: str) -> Transport:
    instance: Transport = (import_string(transport) if isinstance(transport, str) else transport)(channel)
    return instance


def _clear(**kwargs: Any) -> None:
    _make.cache_clear()


setting_changed.connect(_clear, dispatch_uid="dovetail_notify.transports.registry")
