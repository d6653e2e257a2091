from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.urls import re_path

from example_project import routing
from example_project.asgi import application


@async_to_sync
async def knock(
    app: Any, path: str, origin: bytes = b"http://testserver", headers: Sequence[tuple[bytes, bytes]] = ()
) -> str:
    """Open a socket and close it again; the type of what the application answered."""
    scope = {"type": "websocket", "path": path, "query_string": b"", "subprotocols": [], "headers": []}
    socket = ApplicationCommunicator(
        app, {**scope, "headers": [(b"origin", origin), (b"host", b"testserver"), *headers]}
    )
    await socket.send_input({"type": "websocket.connect"})
    answer: dict[str, str] = await socket.receive_output(timeout=5)
    await socket.send_input({"type": "websocket.disconnect", "code": 1000})
    # Raises what the application raised.
    await socket.wait(timeout=5)
    return answer["type"]


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/ws/nothing-here/", "/", "/api/v1/me"])
def test_an_unknown_path_is_refused_without_a_traceback(path):
    assert knock(application, path) == "websocket.close"


@pytest.mark.django_db
def test_a_foreign_origin_does_not_reach_a_consumer(monkeypatch):
    reached = []

    async def consumer(scope, receive, send):
        reached.append(scope["path"])
        await receive()
        await send({"type": "websocket.accept"})

    monkeypatch.setattr(routing, "websocket_urlpatterns", [re_path(r"^ws/here/$", consumer)])
    assert knock(routing.websockets(), "/ws/here/", b"https://evil.example") == "websocket.close"
    assert reached == []
    assert knock(routing.websockets(), "/ws/here/") == "websocket.accept"
    assert reached == ["/ws/here/"]


def test_without_websockets_a_socket_is_refused_too():
    assert knock(routing.refuse, "/ws/here/") == "websocket.close"
