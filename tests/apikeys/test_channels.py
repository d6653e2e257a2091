from __future__ import annotations

from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator

from dovetail_apikeys.contrib.channels import APIKeyAuthMiddleware
from dovetail_apikeys.models import APIKey
from tests.apikeys.factories import make_firm, make_key
from tests.asynchronous import run

pytestmark = pytest.mark.django_db(transaction=True)


async def consumer(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    user = scope.get("user")
    await send({"type": "websocket.accept", "subprotocol": f"{user and user.pk} {scope.get('auth')}"})


def connect(*headers: tuple[bytes, bytes], client: Any = ("192.0.2.1", 4000)) -> dict[str, Any]:
    async def handshake() -> dict[str, Any]:
        scope = {"type": "websocket", "path": "/ws/", "headers": list(headers), "client": client}
        socket = ApplicationCommunicator(APIKeyAuthMiddleware(consumer), scope)
        await socket.send_input({"type": "websocket.connect"})
        response: dict[str, Any] = await socket.receive_output(timeout=10)
        await socket.wait()
        return response

    return run(handshake())


@pytest.mark.parametrize("header", [b"authorization", b"x-api-key"])
def test_key_authenticates_a_socket(header: bytes) -> None:
    firm = make_firm()
    api_key, raw = make_key(firm, scopes=["orders:read"])
    value = raw.encode() if header == b"x-api-key" else b"Bearer " + raw.encode()
    response = connect((header, value))
    assert response["type"] == "websocket.accept"
    assert response["subprotocol"].startswith(f"apikey:{api_key.pk} APIKeyCredential(")
    assert f"owner_id={firm.pk}" in response["subprotocol"]
    assert raw not in response["subprotocol"]
    assert APIKey.objects.get().last_used_ip == "192.0.2.1"


@pytest.mark.parametrize("value", [b"x", b"\xff\x00", b"dvt_live_" + b"A" * 50, b"A" * 10_000, b""])
def test_invalid_key_closes_the_socket(value: bytes) -> None:
    assert connect((b"x-api-key", value)) == {"type": "websocket.close", "code": 4401}


def test_socket_without_a_key_is_passed_on() -> None:
    assert connect((b"authorization", b"Bearer a.b.c"), client=None)["subprotocol"] == "None None"
    assert connect()["subprotocol"] == "None None"


def test_key_of_another_network_closes_the_socket() -> None:
    _api_key, raw = make_key(allowed_networks=["10.0.0.0/8"])
    assert connect((b"x-api-key", raw.encode()))["type"] == "websocket.close"
    assert connect((b"x-api-key", raw.encode()), client=("10.0.0.1", 1))["type"] == "websocket.accept"


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-forwarded-for", b"192.0.2.1"), (b"x_forwarded_for", b"10.0.0.1")],
        [(b"x_forwarded_for", b"10.0.0.1"), (b"x-forwarded-for", b"192.0.2.1")],
        [(b"x-forwarded_for", b"10.0.0.1"), (b"x-forwarded-for", b"192.0.2.1")],
        # The proxy appends a second header.
        [(b"x-forwarded-for", b"10.0.0.1"), (b"x-forwarded-for", b"192.0.2.1")],
    ],
)
def test_forged_address_does_not_open_a_socket(headers: list[tuple[bytes, bytes]], settings: Any) -> None:
    settings.DOVETAIL_TRUSTED_PROXIES = ["127.0.0.1"]
    _api_key, raw = make_key(allowed_networks=["10.0.0.0/8"])
    key = (b"x-api-key", raw.encode())
    assert connect(key, *headers, client=("127.0.0.1", 1))["type"] == "websocket.close"
    assert connect(key, (b"x-forwarded-for", b"10.0.0.1"), client=("127.0.0.1", 1))["type"] == "websocket.accept"
