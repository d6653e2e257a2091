"""For the tests of projects that use this package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from django.core.checks import CheckMessage

from dovetail_notify import NotificationType, get_notification_model
from dovetail_notify.models import Delivery, Device
from dovetail_notify.socket_testing import NotificationSocket
from dovetail_notify.transports.base import Outcome, Transport
from dovetail_notify.transports.push import PushMessage, PushTransport, Result, Sender

__all__ = ["FakePush", "FakeTransport", "NotificationSocket", "sent_notifications"]


def sent_notifications(cls: type[NotificationType] | None = None, *, to: Any = None) -> list[Any]:
    """The rows of all inboxes, or of one user's, the oldest first; of all types or of one."""
    rows = get_notification_model()._default_manager.order_by("pk")
    if cls is not None:
        rows = rows.filter(type=cls.key)
    return list(rows if to is None else rows.filter(recipient=to))


class _Kept(Sender):
    def send(self, device: Device, message: PushMessage) -> Result:
        FakePush.sent.append((device, message))
        return FakePush.results.get(device.token, Result(Outcome.sent()))


class FakePush(PushTransport):
    """Push without a push service: ``NOTIFY_TRANSPORTS = {"push": "dovetail_notify.testing.FakePush"}``.

    Devices of every kind are sent to, whatever the settings. ``sent`` is of the class, a list of devices with their
    messages; ``results`` says by token what is answered in place of success: ``Result.gone("…")`` retires a device.
    Empty both between tests.
    """

    sent: ClassVar[list[tuple[Device, PushMessage]]] = []
    results: ClassVar[dict[str, Result]] = {}

    def kinds(self) -> Sequence[str]:
        return list(Device.Kind.values)

    @cached_property
    def senders(self) -> Mapping[str, Sender]:
        return dict.fromkeys(Device.Kind.values, _Kept())

    def check(self) -> Iterable[CheckMessage]:
        return ()


class FakeTransport(Transport):
    """Keeps what it is given: ``NOTIFY_TRANSPORTS = {"push": "dovetail_notify.testing.FakeTransport"}``.

    ``sent`` is of the class, a list of deliveries; empty it between tests. ``outcome`` is what it answers.
    """

    supports_digest: ClassVar[bool] = True
    sent: ClassVar[list[Delivery]] = []
    outcome: ClassVar[Outcome] = Outcome.sent()

    def send(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        self.sent.extend(deliveries)
        return [self.outcome] * len(deliveries)

    def send_digest(self, user: Any, deliveries: Sequence[Delivery]) -> Outcome:
        self.sent.extend(deliveries)
        return self.outcome
