from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.test import Client
from django.urls import re_path

from dovetail_apikeys.services import create_api_key, revoke_api_key
from dovetail_notify.realtime.protocol import Refused
from dovetail_notify.realtime.socket_authentication import admit_all
from example_project import routing
from example_project.asgi import application
from tests.composed import factories


@async_to_sync
async def knock(
    app: Any, path: str, origin: bytes = b"http://testserver", headers: Sequence[tuple[bytes, bytes]] = ()
) -> str:
    """Open and close a socket, and return the type of the application's response."""
    scope = {"type": "websocket", "path": path, "query_string": b"", "subprotocols": [], "headers": []}
    socket = ApplicationCommunicator(
        app, {**scope, "headers": [(b"origin", origin), (b"host", b"testserver"), *headers]}
    )
    await socket.send_input({"type": "websocket.connect"})
    answer: dict[str, str] = await socket.receive_output(timeout=5)
    await socket.send_input({"type": "websocket.disconnect", "code": 1000})
    # Re-raises exceptions of the application.
    await socket.wait(timeout=5)
    return answer["type"]


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/ws/nothing-here/", "/", "/api/v1/me"])
def test_unknown_socket_path_is_rejected(path):
    assert knock(application, path) == "websocket.close"


@pytest.mark.django_db
def test_foreign_origin_is_rejected(monkeypatch):
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


# Committed, because Channels closes connections with an open transaction.
@pytest.mark.django_db(transaction=True)
def test_api_key_opens_socket_for_its_organization(monkeypatch, organization):
    seen = []

    async def consumer(scope, receive, send):
        seen.append((scope["user"].pk, scope["auth"].scopes, scope["organization_id"]))
        await receive()
        await send({"type": "websocket.accept"})

    monkeypatch.setattr(routing, "websocket_urlpatterns", [re_path(r"^ws/here/$", consumer)])
    sockets = routing.websockets()
    api_key, raw = create_api_key(organization=organization, name="Shop", scopes=["invoices:read"])
    key = (b"authorization", b"Bearer " + raw.encode())
    # A session cookie must not change the user of the socket.
    client = Client()
    client.force_login(organization.owner)
    cookie = (b"cookie", f"sessionid={client.cookies['sessionid'].value}".encode())
    for headers in ([key], [(b"x-api-key", raw.encode())], [key, cookie]):
        assert knock(sockets, "/ws/here/", headers=headers) == "websocket.accept"
    assert seen == [(f"apikey:{api_key.pk}", frozenset({"invoices:read"}), organization.pk)] * 3

    other = (b"x-organization-id", str(factories.organization().pk).encode())
    assert knock(sockets, "/ws/here/", headers=[key, other]) == "websocket.close"
    revoke_api_key(api_key)
    assert knock(sockets, "/ws/here/", headers=[key]) == "websocket.close"
    assert len(seen) == 3


def test_api_key_cannot_open_notification_socket(organization):
    _api_key, raw = create_api_key(organization=organization, name="Shop", scopes=["invoices:read"])
    headers = [(b"host", b"testserver"), (b"authorization", b"Bearer " + raw.encode())]
    scope = {"type": "websocket", "path": "/ws/notifications/", "query_string": b"", "headers": headers}
    # The queries of the consumer before its hello. Called directly, because the consumer runs them in other threads.
    (refused,) = admit_all([{**scope, "subprotocols": ["notify.v1"]}])
    assert isinstance(refused, Refused)
    assert (refused.code, refused.reason) == (4401, "unauthenticated")


def test_disabled_websockets_are_rejected():
    assert knock(routing.refuse, "/ws/here/") == "websocket.close"
