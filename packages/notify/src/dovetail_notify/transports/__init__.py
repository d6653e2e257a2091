"""Transports, which send notifications by e-mail, push and webhook: one for each channel of ``NOTIFY_TRANSPORTS``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar

from django.core.checks import CheckMessage, Error
from django.db.models import Q
from django.utils.module_loading import import_string

from dovetail_core.conf import cached_until_settings_change
from dovetail_notify.conf import conf
from dovetail_notify.types import IN_APP, NotificationType

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

    from dovetail_notify.models import Delivery


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one attempt. Create it with ``sent()``, ``retry()``, ``dead()`` or ``suppressed()``."""

    state: str
    provider_id: str = ""
    reason: str = ""
    #: The seconds after which the service allows a retry. A longer time in ``NOTIFY_BACKOFF_SECONDS`` takes precedence.
    after: int | None = None
    #: The keys of the devices that a retry leaves out.
    done: tuple[int, ...] = ()

    @classmethod
    def sent(cls, provider_id: str = "") -> Outcome:
        return cls("sent", provider_id=provider_id)

    @classmethod
    def retry(cls, reason: str, after: int | None = None, *, done: tuple[int, ...] = ()) -> Outcome:
        return cls("pending", reason=reason, after=after, done=done)

    @classmethod
    def dead(cls, reason: str) -> Outcome:
        return cls("dead", reason=reason)

    @classmethod
    def suppressed(cls, reason: str) -> Outcome:
        return cls("suppressed", reason=reason)


class Transport:
    """Sends the deliveries of one channel. Each process has one instance, which all threads share."""

    #: Whether users can choose an hourly or daily digest, for which ``send_digest()`` is required.
    supports_digest: ClassVar[bool] = False
    #: Whether ``start()`` sends in threads, so that other channels send at the same time.
    concurrent: ClassVar[bool] = False

    def __init__(self, channel: str) -> None:
        self.channel = channel

    def eligible(self, field: str) -> Q:
        """Return the condition on ``field``, a user's key, under which this transport can reach the user."""
        return Q()

    def send(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        """Send the deliveries and return an outcome for each. An exception is a failed attempt of all of them."""
        raise NotImplementedError

    def start(self, deliveries: Sequence[Delivery]) -> Callable[[], Sequence[Outcome]]:
        """Start sending. Return a function that waits for the outcomes, to be called in the same thread."""
        return partial(self.send, deliveries)

    def check(self) -> Iterable[CheckMessage]:
        """Return system check messages about the transport's settings."""
        return ()

    def send_digest(self, user: AbstractBaseUser, deliveries: Sequence[Delivery]) -> Outcome:
        """Send the deliveries of one user in one message."""
        raise NotImplementedError


def check_extra(channel: str, modules: Sequence[str]) -> CheckMessage | None:
    """Return an error if any of the modules, which the ``push`` extra installs, is missing."""
    if not (missing := [name for name in modules if find_spec(name) is None]):
        return None
    return Error(
        f"NOTIFY_TRANSPORTS[{channel!r}] needs packages that are not installed: {', '.join(missing)}.",
        hint="pip install dovetail-notify[push]",
        id="dovetail_notify.E010",
    )


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
