"""The client of a WebSocket. The one of Channels requires daphne."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from asgiref.testing import ApplicationCommunicator


class Socket(ApplicationCommunicator):
    def __init__(self, application: Any, path: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        path, _, query = path.partition("?")
        scope = {"type": "websocket", "path": path, "query_string": query.encode(), "headers": [*headers]}
        super().__init__(application, {**scope, "subprotocols": []})

    async def connect(self) -> dict[str, Any]:
        """Return the application's answer: ``websocket.accept`` or ``websocket.close``."""
        await self.send_input({"type": "websocket.connect"})
        answer: dict[str, Any] = await self.receive_output(timeout=5)
        return answer

    async def ask(self, **content: Any) -> Any:
        await self.send_input({"type": "websocket.receive", "text": json.dumps(content)})
        return json.loads((await self.receive_output(timeout=5))["text"])

    async def disconnect(self) -> None:
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait(timeout=5)
