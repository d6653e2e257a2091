"""A client of ``notify.v1`` for tests, of an ASGI application in the same process."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, Self

from asgiref.testing import ApplicationCommunicator

from dovetail_notify.protocol import PROTOCOL, TICKET_PREFIX


class SocketClosed(AssertionError):
    """The server closed the socket."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"The socket was closed with {code} {reason}.")
        self.code = code
        self.reason = reason


class SocketClient:
    """``async with SocketClient(application, ticket=ticket) as socket: frame = await socket.receive()``.

    ``ticket`` goes into the subprotocols, ``headers`` are ``{"Authorization": …, "Origin": …}``; ``protocols`` replaces
    what is offered. ``protocol`` is then what the server chose.
    """

    def __init__(
        self,
        application: Any,
        *,
        ticket: str | None = None,
        headers: dict[str, str] | None = None,
        path: str = "/ws/notifications/",
        query: str = "",
        protocols: list[str] | None = None,
        seconds: float = 3,
    ) -> None:
        offered = [PROTOCOL, *([TICKET_PREFIX + ticket] if ticket else [])] if protocols is None else protocols
        shown = {"Host": "testserver", **(headers or {})}
        self.seconds = seconds
        self.protocol: str | None = None
        communicator: Any = ApplicationCommunicator  # has no types
        self._communicator = communicator(
            application,
            {
                "type": "websocket",
                "path": path,
                "query_string": query.encode(),
                "subprotocols": offered,
                "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in shown.items()],
                "client": ("127.0.0.1", 1),
                "server": ("testserver", 80),
                "scheme": "ws",
            },
        )

    async def __aenter__(self) -> Self:
        await self._communicator.send_input({"type": "websocket.connect"})
        answer = await self._communicator.receive_output(self.seconds)
        assert answer["type"] == "websocket.accept", answer  # noqa: S101  # a testing kit
        self.protocol = answer.get("subprotocol")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._communicator.send_input({"type": "websocket.disconnect", "code": 1000})
        await self._communicator.wait(self.seconds)

    async def send(self, **frame: Any) -> None:
        await self.send_text(json.dumps(frame))

    async def send_text(self, text: str) -> None:
        await self._communicator.send_input({"type": "websocket.receive", "text": text})

    async def receive(self, kind: str | None = None) -> dict[str, Any]:
        """The next frame, or the next of that type. Raises ``SocketClosed``, or ``TimeoutError``."""
        while True:
            message = await self._communicator.receive_output(self.seconds)
            if message["type"] == "websocket.close":
                raise SocketClosed(message.get("code", 1000), message.get("reason", ""))
            frame: dict[str, Any] = json.loads(message["text"])
            if kind is None or frame["type"] == kind:
                return frame

    async def closed(self) -> tuple[int, str]:
        """Code and reason of the close that comes; frames before it are passed over."""
        try:
            while True:
                await self.receive()
        except SocketClosed as closed:
            return closed.code, closed.reason

    async def silent(self, seconds: float = 0.2) -> bool:
        return bool(await self._communicator.receive_nothing(seconds))
