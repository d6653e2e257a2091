"""A client of the protocol ``notify.v1`` for tests of an ASGI application in the same process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Self

from asgiref.testing import ApplicationCommunicator
from django.utils.module_loading import import_string

from dovetail_notify.realtime.protocol import PROTOCOL, TICKET_PREFIX


class NotificationSocket:
    """A WebSocket client that needs no server::

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
