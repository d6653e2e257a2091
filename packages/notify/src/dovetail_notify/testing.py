"""For the tests of projects that use this package."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from asgiref.testing import ApplicationCommunicator
from django.utils.module_loading import import_string

from dovetail_notify import NotificationType, get_notification_model
from dovetail_notify.frames import PROTOCOL
from dovetail_notify.models import Delivery
from dovetail_notify.transports.base import Outcome, Transport


def sent_notifications(cls: type[NotificationType] | None = None, *, to: Any = None) -> list[Any]:
    """The rows of all inboxes, or of one user's, the oldest first; of all types or of one."""
    rows = get_notification_model()._default_manager.order_by("pk")
    if cls is not None:
        rows = rows.filter(type=cls.key)
    return list(rows if to is None else rows.filter(recipient=to))


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


class NotificationSocket:
    """A client of the WebSocket, without a server::

        async with NotificationSocket(ticket) as socket:
            hello = await socket.receive()

    Use it in a transactional test: the hub reads in a thread of its own, by a connection of its own.
    """

    def __init__(
        self,
        ticket: str | None = None,
        *,
        application: Any = None,
        protocols: Sequence[str] = (PROTOCOL,),
        headers: Sequence[tuple[bytes, bytes]] = (),
        path: str = "/ws/notifications/",
        query: str = "",
    ) -> None:
        offered = [*protocols, *([f"ticket.{ticket}"] if ticket else [])]
        scope = {"type": "websocket", "path": path, "query_string": query.encode(), "subprotocols": offered}
        application = application or import_string("dovetail_notify.contrib.channels.application")
        communicator: Any = ApplicationCommunicator  # asgiref's has no types
        self._communicator = communicator(application, {**scope, "headers": list(headers)})
        #: What the server answered to the offered protocols, and the code it closed with, once it has.
        self.protocol: str | None = None
        self.code: int | None = None

    async def __aenter__(self) -> Self:
        await self._communicator.send_input({"type": "websocket.connect"})
        answer = await self._communicator.receive_output(timeout=5)
        self.protocol = answer.get("subprotocol")
        if answer["type"] == "websocket.close":
            self.code = answer.get("code")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._communicator.send_input({"type": "websocket.disconnect", "code": 1000})
        await self._communicator.wait(timeout=5)

    async def send(self, frame: Any) -> None:
        await self._communicator.send_input({"type": "websocket.receive", "text": json.dumps(frame)})

    async def send_text(self, text: str) -> None:
        await self._communicator.send_input({"type": "websocket.receive", "text": text})

    async def receive(self, seconds: float = 5) -> Any:
        """The next frame, or None once the server has closed; then ``code`` says why. Raises ``TimeoutError``."""
        answer = await self._communicator.receive_output(timeout=seconds)
        if answer["type"] == "websocket.close":
            self.code = answer.get("code")
            return None
        return json.loads(answer["text"])

    async def nothing(self, seconds: float = 0.2) -> bool:
        """Whether nothing comes for so long."""
        silent: bool = await self._communicator.receive_nothing(timeout=seconds)
        return silent
