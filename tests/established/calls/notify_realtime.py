"""With Channels added: what is committed comes to the project's own users at once, by WebSocket and by event stream."""

from __future__ import annotations

import json

from accounts.models import User
from asgiref.sync import async_to_sync, sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.test import Client
from django.utils.module_loading import import_string

from dovetail_core.events import emit
from dovetail_notify import NotificationType, Rendered, get_notification_model, notify
from dovetail_notify.services import mark_read
from dovetail_notify.testing import NotificationSocket

application = import_string(settings.ASGI_APPLICATION)
Notification = get_notification_model()
miller = User.objects.get(username="miller")
client = Client(SERVER_NAME="localhost")
client.force_login(miller)
cookie = f"sessionid={client.cookies['sessionid'].value}"


class Milled(NotificationType, key="orders.milled"):
    number: str
    example = {"number": "1"}

    def render(self):
        return Rendered(title=f"Order {self.number} is milled")


def ticket():
    answer = client.post("/api/v1/notifications/ticket/")
    assert answer.status_code == 201, answer.content
    return answer.json()["ticket"]


def stream():
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/v1/notifications/stream/",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"cookie", cookie.encode()), (b"accept", b"text/event-stream")],
    }
    return ApplicationCommunicator(application, scope)


async def main():
    shown = await sync_to_async(ticket)()
    async with NotificationSocket(shown, application=application) as socket:
        assert socket.protocol == "notify.v1"
        assert (await socket.receive())["type"] == "hello"
        events = stream()
        await events.send_input({"type": "http.request"})
        assert (await events.receive_output(5))["status"] == 200
        assert b"event: hello" in (await events.receive_output(5))["body"]

        await sync_to_async(notify)(Milled(number="1"), to=miller)
        found = await socket.receive()
        assert (found["type"], found["data"]["title"]) == ("notification", "Order 1 is milled"), found
        event = (await events.receive_output(5))["body"].decode()
        assert json.loads(event.split("data: ")[1])["data"] == found["data"], event
        await sync_to_async(mark_read)(user=miller, ids=[found["data"]["id"]])
        assert (await socket.receive())["unread"] == 0
        await events.send_input({"type": "http.disconnect"})
        await events.wait(5)

        # The project has no events of ours: its own sign-out is enough.
        await sync_to_async(emit)("session.revoked", data={"session_ids": ["of somebody else"]})
        await sync_to_async(client.logout)()
        assert await socket.closed() == (4403, "session_revoked")
    async with NotificationSocket(shown, application=application) as socket:
        assert await socket.closed() == (4401, "unauthenticated")
    headers = {"Host": "localhost", "Cookie": cookie, "Origin": "https://elsewhere.example"}
    async with NotificationSocket(application=application, headers=headers) as socket:
        assert await socket.closed() == (4403, "origin")


async_to_sync(main)()
Notification.objects.all().delete()
