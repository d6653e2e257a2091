"""Server-sent events with the frames of sockets."""

from __future__ import annotations

import gc
import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any, Self

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.test import Client
from django.urls import resolve
from django.utils import timezone
from rest_framework.test import APIClient

from dovetail_notify import notify, realtime
from dovetail_notify.realtime import messages
from dovetail_notify.realtime.hub import Hub
from tests.notify.factories import make_user
from tests.notify.orders.notifications import OrderShipped
from tests.notify.sockets import call, run

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # The thread of a request ends with it, and Django leaves its connection to SQLite in memory open.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <sqlite3:pytest.PytestUnraisableExceptionWarning"),
]

SHIPPED = OrderShipped(number="A-1")
URL = "/api/v1/notifications/stream/"


@pytest.fixture(autouse=True)
def _collect_connections() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture
def user() -> Any:
    return make_user()


class Stream:
    """A browser's EventSource."""

    def __init__(self, user: Any, **headers: str) -> None:
        self.user, self.headers = user, headers

    async def __aenter__(self) -> Self:
        client = Client()
        if self.user is not None:
            await call(client.force_login, self.user)
            self.headers["cookie"] = f"sessionid={client.cookies['sessionid'].value}"
        names = {"host": "testserver", "accept": "text/event-stream", **self.headers}
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "path": URL,
            "query_string": b"",
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in names.items()],
        }
        self.communicator: Any = ApplicationCommunicator(ASGIHandler(), scope)
        await self.communicator.send_input({"type": "http.request", "body": b""})
        start = await self.communicator.receive_output(3)
        self.status = start["status"]
        self.sent = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.communicator.send_input({"type": "http.disconnect"})
        await self.communicator.wait(3)

    async def event(self) -> dict[str, Any]:
        body = b""
        while not body.endswith(b"\n\n"):
            body += (await self.communicator.receive_output(3))["body"]
        lines = dict(line.split(": ", 1) for line in body.decode().strip().split("\n"))
        return {**lines, "data": json.loads(lines["data"])} if "data" in lines else lines

    async def rest(self) -> AsyncIterator[bytes]:
        while (message := await self.communicator.receive_output(3)).get("more_body"):
            yield message["body"]
        yield message.get("body", b"")


def test_new_row_is_an_event_with_its_cursor_as_id(user):
    async def main() -> None:
        async with Stream(user) as stream:
            assert (stream.status, stream.sent["content-type"]) == (200, "text/event-stream")
            assert (stream.sent["cache-control"], stream.sent["x-accel-buffering"]) == ("no-store", "no")
            first = await stream.event()
            assert (first["event"], first["id"]) == ("hello", first["data"]["cursor"])
            await call(notify, SHIPPED, to=user)
            event = await stream.event()
            assert (event["event"], event["id"]) == ("notification", event["data"]["cursor"])
            assert event["data"]["data"]["title"] == "Order A-1 was shipped"
        assert Hub.current().sockets == {}
        assert messages.listeners == {}

    run(main)


def test_hint_is_an_event_without_an_id(user):
    async def main() -> None:
        async with Stream(user) as stream:
            await stream.event()
            await call(realtime.broadcast, "features")
            assert await stream.event() == {"event": "hint", "data": {"type": "hint", "kind": "features"}}

    run(main)


def test_reconnecting_browser_gets_missed_rows(user):
    async def main() -> None:
        async with Stream(user) as stream:
            cursor = (await stream.event())["id"]
        for number in range(3):
            await call(notify, OrderShipped(number=str(number)), to=user)
        async with Stream(user, last_event_id=cursor) as stream:
            hello = await stream.event()
            assert "id" not in hello
            events = [await stream.event() for _ in range(4)]
            assert [each["event"] for each in events] == ["notification"] * 3 + ["resumed"]
            assert events[-1]["id"].startswith(events[-2]["id"].split("-")[0])
        # An invalid cursor is ignored.
        async with Stream(user, last_event_id="x") as stream:
            assert "id" in await stream.event()

    run(main)


def test_stream_ends_like_a_socket_with_its_reason(user):
    async def main() -> None:
        async with Stream(user) as stream:
            await stream.event()
            await call(realtime.disconnect, user=user)
            event = await stream.event()
            assert (event["event"], event["data"]["code"]) == ("close", 4403)
            assert [part async for part in stream.rest()] == [b""]

    run(main)


def test_stream_counts_as_a_socket_of_its_user(user, settings):
    settings.NOTIFY_SOCKETS_PER_USER = 1

    async def main() -> None:
        async with Stream(user) as one:
            await one.event()
            async with Stream(user) as two:
                assert (await two.event())["data"]["code"] == 4429

    run(main)


def test_anonymous_stream_gets_an_api_error(user, settings):
    async def main() -> None:
        async with Stream(None) as stream:
            assert stream.status in (401, 403)
            assert stream.sent["content-type"] == "application/json"

    run(main)
    settings.NOTIFY_CREDENTIAL = lambda request: (None, timezone.now() - timedelta(seconds=1))

    async def late() -> None:
        async with Stream(user) as stream:
            assert stream.status in (401, 403)

    run(late)


def test_stream_is_501_under_wsgi(user):
    client = APIClient()
    client.force_login(user)
    answer = client.get(URL, HTTP_ACCEPT="text/event-stream")
    assert answer.status_code == 501
    assert "ASGI" in json.dumps(answer.json())


def test_stream_holds_no_transaction_open():
    assert getattr(resolve(URL).func, "_non_atomic_requests", None) == {"default"}
