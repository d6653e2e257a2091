"""System checks for ``CHANNEL_LAYERS`` settings that lose messages between processes. They only read settings."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004  # Django's names

from dovetail_notify.conf import conf

_CORE: Final = "channels_redis.core.RedisChannelLayer"
_PUBSUB: Final = "channels_redis.pubsub.RedisPubSubChannelLayer"
_IN_MEMORY: Final = "channels.layers.InMemoryChannelLayer"
_CAPACITY: Final = 1000
_WAIT_SECONDS: Final = 5


@register()
def check_layers(**_: Any) -> list[CheckMessage]:
    layers = getattr(settings, "CHANNEL_LAYERS", None)
    layer = layers.get("default") if isinstance(layers, Mapping) else None
    if not isinstance(layer, Mapping):
        return []
    check = {_CORE: _check_core, _PUBSUB: _check_pubsub, _IN_MEMORY: _check_in_memory}.get(str(layer.get("BACKEND")))
    return [*check(layer.get("CONFIG") or {})] if check else []


def _check_core(config: Mapping[str, Any]) -> Iterator[CheckMessage]:
    if _redis_major() >= 8 and not all(_outlasts_the_wait(host) for host in config.get("hosts") or [{}]):
        yield Error(
            "CHANNEL_LAYERS uses channels_redis.core with redis-py 8 or later and its default socket_timeout. That is "
            f"{_WAIT_SECONDS} seconds, as long as the layer waits for a message: idle subscriptions break every few "
            "seconds, and messages are lost.",
            hint='Use channels_redis.pubsub.RedisPubSubChannelLayer, or write each of "hosts" as {"address": …, '
            '"socket_timeout": None}.',
            id="dovetail_notify.E007",
        )
    capacity = config.get("capacity", 100)
    if isinstance(capacity, int) and capacity < _CAPACITY:
        yield Error(
            f"The capacity of CHANNEL_LAYERS is {capacity}. It applies to all sockets of a process together, and "
            "messages beyond it are dropped without an error.",
            hint=f'Set "capacity" in "CONFIG" to at least {_CAPACITY}.',
            id="dovetail_notify.E008",
        )
    seconds = config.get("group_expiry", 86400)
    if isinstance(seconds, int) and seconds < 300:
        yield Error(
            f"The group_expiry of CHANNEL_LAYERS is {seconds} seconds. Processes join the group again every minute, "
            "and their membership may expire before.",
            hint='Leave out "group_expiry", or set it to at least 300.',
            id="dovetail_notify.E009",
        )


def _redis_major() -> int:
    try:
        return int(version("redis").split(".")[0])
    except (PackageNotFoundError, ValueError):
        return 0


def _outlasts_the_wait(host: object) -> bool:
    if not isinstance(host, Mapping) or "socket_timeout" not in host:
        return False
    seconds = host["socket_timeout"]
    return seconds is None or (isinstance(seconds, int | float) and seconds > _WAIT_SECONDS)


def _check_pubsub(config: Mapping[str, Any]) -> Iterator[CheckMessage]:
    hosts = [host for host in config.get("hosts") or () if isinstance(host, Mapping)]
    if any(name in options for options in (config, *hosts) for name in ("on_disconnect", "on_reconnect")):
        yield Warning(
            "CHANNEL_LAYERS sets on_disconnect or on_reconnect, which channels_redis.pubsub never calls. Code in them "
            "does not run when messages are lost.",
            hint="Leave them out. NOTIFY_SOCKET_SWEEP_SECONDS is the interval at which missed notifications are found.",
            id="dovetail_notify.W004",
        )


def _check_in_memory(config: Mapping[str, Any]) -> Iterator[CheckMessage]:
    if not settings.DEBUG or os.environ.get("WEB_CONCURRENCY", "1") not in ("", "1"):
        yield Warning(
            "CHANNEL_LAYERS uses InMemoryChannelLayer, which does not reach other processes. Notifications from other "
            f"processes arrive up to {conf.SOCKET_SWEEP_SECONDS} seconds late.",
            hint="Use channels_redis.pubsub.RedisPubSubChannelLayer if there are several processes. If there is only "
            'one, set SILENCED_SYSTEM_CHECKS = ["dovetail_notify.W005"].',
            id="dovetail_notify.W005",
        )
