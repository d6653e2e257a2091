"""Transports that record instead of sending."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from django.core.checks import CheckMessage

from dovetail_notify.models import Delivery, Device
from dovetail_notify.transports import Outcome, Transport
from dovetail_notify.transports.push import PushMessage, PushTransport, Result, Sender


class _RecordingSender(Sender):
    def send(self, device: Device, message: PushMessage) -> Result:
        FakePush.sent.append((device, message))
        return FakePush.results.get(device.token, Result(Outcome.sent()))


class FakePush(PushTransport):
    """Push without a push service: ``NOTIFY_TRANSPORTS = {"push": "dovetail_notify.testing.FakePush"}``.

    Accepts devices of every kind, whatever the settings. The class attribute ``sent`` lists devices with their
    messages. The class attribute ``results`` maps tokens to results other than success: ``Result.gone("…")`` retires a
    device. Clear both between tests.
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
    """Records deliveries: ``NOTIFY_TRANSPORTS = {"push": "dovetail_notify.testing.FakeTransport"}``.

    The class attribute ``sent`` lists deliveries; clear it between tests. ``outcome`` is the result of every delivery.
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
