"""System checks for ``CHANNEL_LAYERS`` settings that lose messages between processes. They only read settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning

from dovetail_notify.conf import conf

_CORE: Final = "channels_redis.core.RedisChannelLayer"
_PUBSUB: Final = "channels_redis.pubsub.RedisPubSubChannelLayer"
_IN_MEMORY: Final = "channels.layers.InMemoryChannelLayer"
_CAPACITY: Final = 1000
_WAIT_SECONDS: Final = 5


def check_layers(**_: Any) -> list[CheckMessage]:
    layers = getattr(settings, "CHANNEL_LAYERS", None)
    layer = layers.get("default") if isinstance(layers, Mapping) else None
    if not isinstance(layer, Mapping):
        return []
    backend, config = layer.get("BACKEND"), layer.get("CONFIG") or {}
    if backend == _CORE:
        return [*_timeouts(config), *_capacity(config), *_group_expiry(config)]
    if backend == _PUBSUB:
        return _unused_hooks(config)
    if backend == _IN_MEMORY:
        return _in_memory()
    return []


def _timeouts(config: Mapping[str, Any]) -> list[CheckMessage]:
    if _redis_major() < 8 or all(_waits(host) for host in config.get("hosts") or [{}]):
        return []
    return [
        Error(
            "CHANNEL_LAYERS uses channels_redis.core with redis-py 8 or later and no socket_timeout of its own: "
            f"redis-py's is {_WAIT_SECONDS} seconds, as long as the layer waits for a message, so that each idle "
            "subscription dies every few seconds and loses what comes meanwhile.",
            hint='Use channels_redis.pubsub.RedisPubSubChannelLayer, or give each of "hosts" as {"address": …, '
            '"socket_timeout": None}.',
            id="dovetail_notify.E007",
        )
    ]


def _waits(host: Any) -> bool:
    if not isinstance(host, Mapping) or "socket_timeout" not in host:
        return False
    seconds = host["socket_timeout"]
    return seconds is None or (isinstance(seconds, int | float) and seconds > _WAIT_SECONDS)


def _redis_major() -> int:
    try:
        return int(version("redis").split(".")[0])
    except (PackageNotFoundError, ValueError):
        return 0


def _capacity(config: Mapping[str, Any]) -> list[CheckMessage]:
    capacity = config.get("capacity", 100)
    if not isinstance(capacity, int) or capacity >= _CAPACITY:
        return []
    return [
        Error(
            f"The capacity of CHANNEL_LAYERS is {capacity}: it is counted for a whole process and not for a socket, "
            "and what is more than that is dropped without an error.",
            hint=f'Set "capacity" to at least {_CAPACITY} in its "CONFIG".',
            id="dovetail_notify.E008",
        )
    ]


def _group_expiry(config: Mapping[str, Any]) -> list[CheckMessage]:
    seconds = config.get("group_expiry", 86400)
    if not isinstance(seconds, int) or seconds >= 300:
        return []
    return [
        Error(
            f"The group_expiry of CHANNEL_LAYERS is {seconds} seconds: processes join again every minute, and would "
            "be forgotten in between.",
            hint='Leave out "group_expiry", or set at least 300.',
            id="dovetail_notify.E009",
        )
    ]


def _unused_hooks(config: Mapping[str, Any]) -> list[CheckMessage]:
    hosts = [host for host in config.get("hosts") or () if isinstance(host, Mapping)]
    if not any(name in part for part in (config, *hosts) for name in ("on_disconnect", "on_reconnect")):
        return []
    return [
        CheckWarning(
            "CHANNEL_LAYERS sets on_disconnect or on_reconnect, which channels_redis.pubsub stores and never calls: "
            "whatever relies on them to make up for messages lost while Redis was away does not run.",
            hint="Leave them out. What notifications were missed is found by NOTIFY_SOCKET_SWEEP_SECONDS.",
            id="dovetail_notify.W004",
        )
    ]


def _in_memory() -> list[CheckMessage]:
    if settings.DEBUG and os.environ.get("WEB_CONCURRENCY", "1") in ("", "1"):
        return []
    return [
        CheckWarning(
            "CHANNEL_LAYERS uses InMemoryChannelLayer, which reaches no other process: a worker's notification, or "
            f"that of another web process, shows up to {conf.SOCKET_SWEEP_SECONDS} seconds late.",
            hint="Use channels_redis.pubsub.RedisPubSubChannelLayer where there is more than one process; with one, "
            'silence this by SILENCED_SYSTEM_CHECKS = ["dovetail_notify.W005"].',
            id="dovetail_notify.W005",
        )
    ]
