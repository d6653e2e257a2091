"""Look-up of the transports in ``NOTIFY_TRANSPORTS``."""

from __future__ import annotations

from django.utils.module_loading import import_string

from dovetail_core.conf import cached_until_settings_change
from dovetail_notify.conf import conf
from dovetail_notify.transports.base import Transport
from dovetail_notify.types import IN_APP, NotificationType


def transport_for(channel: str) -> Transport:
    """Return the channel's transport. Raise ``KeyError`` if the project has none."""
    return _create(conf.TRANSPORTS[channel], channel)


def is_concurrent(channel: str) -> bool:
    """Return whether the channel's transport sends in threads, or False if it cannot be imported."""
    try:
        return transport_for(channel).concurrent
    except (KeyError, ImportError):
        return False


def available_channels(cls: type[NotificationType]) -> list[str]:
    """Return the type's channels for which the project has a transport. The inbox needs none."""
    return [channel for channel in cls.channels if channel == IN_APP or channel in conf.TRANSPORTS]


def required_channels(cls: type[NotificationType]) -> set[str]:
    return set(cls.required).intersection(available_channels(cls))


@cached_until_settings_change
def _create(transport: str | type[Transport], channel: str) -> Transport:
    instance: Transport = (import_string(transport) if isinstance(transport, str) else transport)(channel)
    return instance
