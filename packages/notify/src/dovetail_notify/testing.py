"""Test helpers for projects that use this package."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.checks import CheckMessage
from django.utils.module_loading import import_string

from dovetail_notify.base import get_notification_model
from dovetail_notify.models import Delivery, Device
from dovetail_notify.realtime.protocol import PROTOCOL, TICKET_PREFIX
from dovetail_notify.transports import Outcome, Transport
from dovetail_notify.transports.push import PushMessage, PushTransport, Result, Sender
from dovetail_notify.types import NotificationType

__all__ = ["FakePush", "FakeTransport", "NotificationSocket", "sent_notifications"]


def sent_notifications(cls: type[NotificationType] | None = None, *, to: object = None) -> list[Any]:
    """Return the notifications of all types or of ``cls``, to all users or to ``to`` (a user or key); oldest first."""
    rows = get_notification_model()._default_manager.order_by("pk")
    if cls is not None:
        rows = rows.filter(type=cls.key)
    return list(rows if to is None else rows.filter(recipient_id=getattr(to, "pk", to)))


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


class NotificationSocket:
    """A client of the protocol ``notify.v1`` for an ASGI application in the same process::

        async with NotificationSocket(ticket) as socket:
            hello = await socket.receive()

    ``headers`` are request headers, such as ``{"Authorization": …, "Origin": …}``. ``protocols`` are the subprotocols
    to offer besides the ticket. The attribute ``protocol`` is the subprotocol that the server chose; ``code`` and
    ``reason`` are those of the server's close frame.
    """

    def __init__(
        self,
        ticket: str | None = None,
        *,
        application: object = None,
        protocols: Sequence[str] = (PROTOCOL,),
        headers: dict[str, str] | None = None,
        path: str = "/ws/notifications/",
        query: str = "",
        seconds: float = 5,
    ) -> None:
        self.seconds = seconds
        self.protocol: str | None = None
        self.code: int | None = None
        self.reason = ""
        fields = {"Host": "testserver", **(headers or {})}
        communicator: Any = ApplicationCommunicator  # asgiref types it too narrowly
        self._communicator = communicator(
            application or import_string("dovetail_notify.contrib.channels.application"),
            {
                "type": "websocket",
                "path": path,
                "query_string": query.encode(),
                "subprotocols": [*protocols, *([TICKET_PREFIX + ticket] if ticket else [])],
                "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in fields.items()],
                "client": ("127.0.0.1", 1),
                "server": ("testserver", 80),
                "scheme": "ws",
            },
        )

    async def __aenter__(self) -> Self:
        await self._communicator.send_input({"type": "websocket.connect"})
        answer = await self._communicator.receive_output(self.seconds)
        self.protocol = answer.get("subprotocol")
        if answer["type"] == "websocket.close":
            self.code = answer.get("code")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._communicator.send_input({"type": "websocket.disconnect", "code": 1000})
        await self._communicator.wait(self.seconds)

    async def send(self, **frame: Any) -> None:
        await self.send_text(json.dumps(frame))

    async def send_text(self, text: str) -> None:
        await self._communicator.send_input({"type": "websocket.receive", "text": text})

    async def receive(self, kind: str | None = None) -> dict[str, Any]:
        """Return the next frame, of the type ``kind`` if given, or ``{}`` after a close. Raise ``TimeoutError``."""
        while self.code is None:
            message = await self._communicator.receive_output(self.seconds)
            if message["type"] == "websocket.close":
                self.code, self.reason = message.get("code", 1000), message.get("reason", "")
                break
            frame: dict[str, Any] = json.loads(message["text"])
            if kind is None or frame["type"] == kind:
                return frame
        return {}

    async def closed(self) -> tuple[int | None, str]:
        """Skip frames until the close frame, and return its code and reason."""
        while await self.receive():
            pass
        return self.code, self.reason

    async def nothing(self, seconds: float = 0.2) -> bool:
        """Return whether no frame arrives within ``seconds``."""
        return bool(await self._communicator.receive_nothing(seconds))
