from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004  # Django's names
from django.db import models

from dovetail_notify.base import AbstractNotification, get_notification_model
from dovetail_notify.conf import conf
from dovetail_notify.outbox.runner import immediate
from dovetail_notify.transports import available_channels, is_concurrent, transport_for
from dovetail_notify.transports.email import EmailTransport
from dovetail_notify.types import IN_APP, NotificationType, Rendered, registry

_CORE: Final = "channels_redis.core.RedisChannelLayer"
_PUBSUB: Final = "channels_redis.pubsub.RedisPubSubChannelLayer"
_IN_MEMORY: Final = "channels.layers.InMemoryChannelLayer"
_CAPACITY: Final = 1000
_WAIT_SECONDS: Final = 5


@register()
def check_settings(**_: Any) -> list[CheckMessage]:
    return conf.check()


@register(Tags.models)
def check_model(**_: Any) -> Iterator[CheckMessage]:
    model: type[models.Model] = get_notification_model()
    key = model._meta.pk
    if not issubclass(model, AbstractNotification) or not isinstance(key, models.AutoField) or key.name != "id":
        yield Error(
            f"NOTIFY_NOTIFICATION_MODEL names {model._meta.label}, which is not an AbstractNotification with an "
            f"auto-incrementing integer key named id. Its key is the {type(key).__name__} {key.name}.",
            hint="Inherit from dovetail_notify.base.AbstractNotification, and do not replace its primary key: the "
            "database numbers the rows of a fan-out, and cursors contain these numbers.",
            obj=model,
            id="dovetail_notify.E002",
        )


@register()
def check_transports(**_: Any) -> Iterator[CheckMessage]:
    for channel, path in conf.TRANSPORTS.items() if conf.declared()["TRANSPORTS"].problem() is None else ():
        try:
            transport = transport_for(channel)
        except ImportError as error:
            yield Error(
                f"NOTIFY_TRANSPORTS[{channel!r}] is {path!r}, which cannot be imported: {error}.",
                hint="Name a class that inherits from dovetail_notify.transports.Transport.",
                id="dovetail_notify.E003",
            )
        else:
            yield from transport.check()


@register()
def check_types(**_: Any) -> Iterator[CheckMessage]:
    for cls in registry.duplicates:
        yield Error(
            f"The notification types {registry.get(cls.key)!r} and {cls!r} have the same key, {cls.key!r}.",
            hint="Give one of them another key.",
            obj=cls,
            id="dovetail_notify.E004",
        )
    for cls in registry.all():
        if not isinstance(example := _example(cls), Rendered):
            yield Error(
                f"The example of the notification type {cls.key!r} does not render: {example}.",
                hint="Set example to the arguments of an instance, and return a Rendered from render().",
                obj=cls,
                id="dovetail_notify.E005",
            )
        if unknown := set(cls.required) - set(cls.channels):
            yield Error(
                f"The notification type {cls.key!r} requires channels that it does not have: {', '.join(unknown)}.",
                hint=f"Add them to channels, or remove them from required. Its channels: {', '.join(cls.channels)}.",
                obj=cls,
                id="dovetail_notify.E006",
            )
        if missing := set(cls.channels) - {IN_APP, *available_channels(cls)}:
            yield Warning(
                f"The notification type {cls.key!r} names channels without a transport: {', '.join(sorted(missing))}.",
                hint="Add them to NOTIFY_TRANSPORTS, or remove them from channels.",
                obj=cls,
                id="dovetail_notify.W002",
            )


@register()
def check_site(**_: Any) -> Iterator[CheckMessage]:
    if conf.SITE_URL or conf.declared()["SITE_URL"].problem() or not _sends_mail():
        return
    examples = {cls.key: _example(cls) for cls in registry.all() if "email" in cls.channels}
    paths = {key: text.url for key, text in examples.items() if isinstance(text, Rendered) and text.url.startswith("/")}
    if paths:
        yield Error(
            "Mail programs cannot open links that are paths: "
            f"{', '.join(f'{path!r} in mails of {key!r}' for key, path in paths.items())}.",
            hint="Set NOTIFY_SITE_URL to the address of your site, such as 'https://app.example.com', or return whole "
            "URLs from render().",
            id="dovetail_notify.E016",
        )


def _sends_mail() -> bool:
    """Return whether ``EmailTransport``, which completes links with ``NOTIFY_SITE_URL``, sends the mails."""
    if conf.declared()["TRANSPORTS"].problem() is not None:
        return False
    try:
        return isinstance(transport_for("email"), EmailTransport)
    except (KeyError, ImportError):
        return False


def _example(cls: type[NotificationType]) -> Rendered | str:
    """Return the rendered example, or the reason why it does not render."""
    try:
        rendered: Any = cls.from_example().render()
    except Exception as error:  # noqa: BLE001  # any exception of a project's code
        return f"{type(error).__name__}: {error}"
    return rendered if isinstance(rendered, Rendered) else f"render() returned {rendered!r}"


# Only for deployment: slow requests do not matter during development.
@register(deploy=True)
def check_runner(**_: Any) -> Iterator[CheckMessage]:
    if any(conf.declared()[name].problem() for name in ("RUNNER", "TRANSPORTS")) or conf.RUNNER is not immediate:
        return
    if slow := [channel for channel in conf.TRANSPORTS if is_concurrent(channel)]:
        yield Warning(
            f"NOTIFY_RUNNER sends in the process of the request, which may wait 40 seconds for: {', '.join(slow)}.",
            hint="Send in a worker: with dovetail_notify.contrib.celery.run, dovetail_notify.contrib.tasks.run, or "
            "dovetail_notify.outbox.runner.wait and manage.py notify_deliver --loop.",
            id="dovetail_notify.W006",
        )


# Only for deployment: providers require the header from senders of much mail.
@register(deploy=True)
def check_unsubscribe(**_: Any) -> Iterator[CheckMessage]:
    if _sends_mail() and not conf.UNSUBSCRIBE_URL:
        yield Warning(
            "NOTIFY_UNSUBSCRIBE_URL is not set. Mail has no List-Unsubscribe header, which large mailbox providers "
            "require from senders of much mail (RFC 8058).",
            hint="Set it to the URL of notifications/unsubscribe/{token}/ of your API, with the text {token} in it.",
            id="dovetail_notify.W003",
        )


@register()
def check_layers(**_: Any) -> list[CheckMessage]:
    """Check for ``CHANNEL_LAYERS`` settings that lose messages between processes. Only the settings are read."""
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
