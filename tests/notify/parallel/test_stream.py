"""Server-sent events, by Django's own ASGI handler."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.test import Client

from dovetail_notify import get_notification_model, hub, notify
from tests.asynchronous import run
from tests.notify.factories import make_user
from tests.notify.orders.notifications import Quiet

pytestmark = pytest.mark.django_db(transaction=True)
Notification: Any = get_notification_model()


def stream(client: Client, *headers: tuple[bytes, bytes]) -> Any:
    cookie = f"sessionid={client.cookies['sessionid'].value}".encode()
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/v1/notifications/stream/",
        "query_string": b"",
        "headers": [(b"host", b"testserver"), (b"cookie", cookie), (b"accept", b"text/event-stream"), *headers],
    }
    return ApplicationCommunicator(ASGIHandler(), scope)


async def event(communicator: Any) -> dict[str, Any]:
    body = (await communicator.receive_output(timeout=5))["body"].decode()
    assert body.endswith("\n\n")
    return dict(line.split(": ", 1) for line in body.strip().splitlines())


async def close(communicator: Any) -> None:
    await communicator.send_input({"type": "http.disconnect"})
    await communicator.wait(timeout=5)


@pytest.fixture
def signed_in(settings: Any) -> tuple[Any, Client]:
    settings.NOTIFY_RUNNER = "dovetail_notify.runner.wait"
    settings.ALLOWED_HOSTS = ["testserver"]
    user, client = make_user(), Client()
    client.force_login(user)
    return user, client


def test_events_come_and_resume_after_the_last(signed_in: Any) -> None:
    user, client = signed_in

    async def listen() -> None:
        first = stream(client)
        await first.send_input({"type": "http.request"})
        start = await first.receive_output(timeout=5)
        assert start["status"] == 200
        headers = {name.lower(): value for name, value in start["headers"]}
        assert headers[b"content-type"] == b"text/event-stream"
        assert headers[b"x-accel-buffering"] == b"no"
        assert (await event(first))["event"] == "hello"
        await sync_to_async(notify)(Quiet(), to=user)
        told = await event(first)
        assert told["event"] == "notification"
        assert json.loads(told["data"])["cursor"] == int(told["id"])
        await close(first)
        # Whoever closes the page leaves nothing behind.
        for _ in range(50):
            if not hub.current_hub().members:
                break
            await asyncio.sleep(0.05)
        assert not hub.current_hub().members

        await sync_to_async(notify)(Quiet(), to=user)
        second = stream(client, (b"last-event-id", told["id"].encode()))
        await second.send_input({"type": "http.request"})
        await second.receive_output(timeout=5)
        assert (await event(second))["event"] == "hello"
        assert int((await event(second))["id"]) > int(told["id"])
        hub.current_hub()._all()[0].close(hub.FORBIDDEN)
        assert json.loads((await event(second))["data"]) == {"type": "end", "code": 4403}
        await close(second)

    run(listen())


def test_it_is_kept_alive(signed_in: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("dovetail_notify.api.stream.KEEP_ALIVE_SECONDS", 0.05)
    _, client = signed_in

    async def listen() -> None:
        communicator = stream(client, (b"last-event-id", b"x"))
        await communicator.send_input({"type": "http.request"})
        await communicator.receive_output(timeout=5)
        await event(communicator)
        assert (await communicator.receive_output(timeout=5))["body"] == b":\n\n"
        await close(communicator)

    run(listen())
