"""Test helpers for projects that use this package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.checks import CheckMessage

from dovetail_notify.base import get_notification_model
from dovetail_notify.models import Delivery, Device
from dovetail_notify.testing.sockets import NotificationSocket
from dovetail_notify.transports import Outcome, Transport
from dovetail_notify.transports.push import PushMessage, PushTransport, Result, Sender
from dovetail_notify.types import NotificationType

__all__ = ["FakePush", "FakeTransport", "NotificationSocket", "sent_notifications"]


def sent_notifications(cls: type[NotificationType] | None = None, *, to: AbstractBaseUser | None = None) -> list[Any]:
    """Return the notifications of all types or of ``cls``, to all users or to the user ``to``; oldest first."""
    rows = get_notification_model()._default_manager.order_by("pk")
    if cls is not None:
        rows = rows.filter(type=cls.key)
    return list(rows if to is None else rows.filter(recipient_id=to.pk))


class _RecordingSender(Sender):
    def send(self, device: Device, message: PushMessage) -> Result:
        FakePush.sent.append((device, message))
        return FakePush.results.get(device.token, Result(Outcome.sent()))


class FakePush(PushTransport):
    """Records push messages: ``NOTIFY_TRANSPORTS = {"push": "dovetail_notify.testing.FakePush"}``.

    It accepts devices of every kind without settings. The class attribute ``sent`` lists devices with their messages.
    The class attribute ``results`` maps tokens to results other than success: ``Result.gone("…")`` retires a device.
    Clear both between tests.
    """

    sent: ClassVar[list[tuple[Device, PushMessage]]] = []
    results: ClassVar[dict[str, Result]] = {}

    def kinds(self) -> Sequence[str]:
        return list(Device.Kind.values)

    @cached_property
    def senders(self) -> Mapping[str, Sender]:
        return dict.fromkeys(Device.Kind.values, _RecordingSender())

    def check(self) -> Iterable[CheckMessage]:
        return ()


class FakeTransport(Transport):
    """Records deliveries: ``NOTIFY_TRANSPORTS = {"email": "dovetail_notify.testing.FakeTransport"}``.

    The class attribute ``sent`` lists deliveries. Clear it between tests. ``outcome`` is the outcome of each delivery.
    """

    supports_digest: ClassVar[bool] = True
    sent: ClassVar[list[Delivery]] = []
    outcome: ClassVar[Outcome] = Outcome.sent()

    def send(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        self.sent.extend(deliveries)
        return [self.outcome] * len(deliveries)

    def send_digest(self, user: AbstractBaseUser, deliveries: Sequence[Delivery]) -> Outcome:
        self.sent.extend(deliveries)
        return self.outcome
