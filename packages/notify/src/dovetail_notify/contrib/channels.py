"""WebSockets with Django Channels.

``websocket_urlpatterns`` for a router of your own, or ``application`` for a project that has none::

    uvicorn dovetail_notify.contrib.channels:application
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from asgiref.sync import async_to_sync
from channels.generic.websocket import AsyncWebsocketConsumer  # type: ignore[import-untyped]
from channels.layers import get_channel_layer  # type: ignore[import-untyped]
from django.conf import settings
from django.http import HttpRequest
from django.http.request import validate_host
from django.urls import URLPattern, re_path
from rest_framework.exceptions import APIException

from dovetail_notify import hub as hubs
from dovetail_notify.api.permissions import IsRecipient
from dovetail_notify.api.views import organization_key
from dovetail_notify.conf import conf
from dovetail_notify.frames import PROTOCOL
from dovetail_notify.tickets import Admission, redeem_ticket

logger = logging.getLogger("dovetail.notify")

GROUP: Final = "dovetail.notify"
MAX_FRAME: Final = 4096
#: Frames of a client in ten seconds.
MAX_FRAMES: Final = 20
TOO_BIG: Final = 1009
TRY_LATER: Final = 1013

#: Seconds after which the subscription is made again: a Redis that was restarted has forgotten it and says nothing.
_RENEW = 10.0


# --- The layer --------------------------------------------------------------------------------------------------------


def relay(envelope: dict[str, Any]) -> None:
    """To the hubs of other processes, by one message for all of their sockets."""
    async_to_sync(get_channel_layer().group_send)(GROUP, {"type": "notify.relay", "envelope": envelope})


async def subscribe(subscribed: Callable[[], None]) -> AsyncIterator[dict[str, Any]]:
    """The envelopes that other processes relay; ``subscribed`` is called when the subscription stands."""
    layer = get_channel_layer()
    channel = await layer.new_channel("dovetail.notify")
    receiving: asyncio.Task[Any] | None = None
    try:
        await layer.group_add(GROUP, channel)
        subscribed()
        while True:
            receiving = receiving or asyncio.create_task(layer.receive(channel))
            done, _ = await asyncio.wait({receiving}, timeout=_RENEW)
            if done:
                receiving = None
                yield done.pop().result()["envelope"]
            else:
                await layer.group_add(GROUP, channel)
    finally:
        if receiving is not None:
            receiving.cancel()
            with contextlib.suppress(BaseException):
                await receiving
        with contextlib.suppress(Exception):
            await layer.group_discard(GROUP, channel)


# --- The socket -------------------------------------------------------------------------------------------------------


class NotificationConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # Channels has no types
    """One socket of the protocol ``notify.v1``."""

    # One that is not there: Channels would otherwise give each socket a channel of the layer.
    channel_layer_alias = "dovetail_notify has one subscription for all sockets"

    member: hubs.Member | None = None
    writer: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        offered = self.scope.get("subprotocols", [])
        # Accepted first: before that a browser learns no code. Never a ticket's own protocol, which it would be told.
        await self.accept(PROTOCOL if PROTOCOL in offered else None)
        self.seen: deque[float] = deque(maxlen=MAX_FRAMES)
        self.hub = hubs.current_hub()
        try:
            refusal = await self._enter(offered)
        except Exception as error:  # noqa: BLE001  # a database that is away; no traceback for whoever knocks
            logger.warning("A socket could not be opened: %s.", type(error).__name__)
            refusal = TRY_LATER
        if refusal is not None:
            await self.close(refusal)
            # Its ticket was looked up by a connection that nobody else may need.
            await self.hub.rest()

    async def _enter(self, offered: list[str]) -> int | None:
        """Begin; or the code of the refusal."""
        admission = await self._admission(offered)
        if isinstance(admission, int):
            return admission
        self.member = await self.hub.admit(admission)
        if self.member is None:
            return hubs.TOO_MANY
        await self.send(await self.hub.hello(self.member))
        self.writer = asyncio.create_task(self._write(self.member))
        return None

    async def disconnect(self, code: int) -> None:
        if self.writer is not None:
            self.writer.cancel()
        member, self.member = self.member, None
        if member is not None:
            await self.hub.leave(member)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.member is None:
            return
        if len(text_data or bytes_data or "") > MAX_FRAME:
            self.member.close(TOO_BIG)
            return
        now = asyncio.get_running_loop().time()
        if len(self.seen) == MAX_FRAMES and now - self.seen[0] < 10:
            self.member.close(hubs.TOO_MANY)
            return
        self.seen.append(now)
        try:
            frame = json.loads(text_data or "")
            handle = {"resume": self._resume, "auth": self._auth, "ping": self._ping}[frame["type"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            self.member.put('{"type":"error","code":"malformed"}')
            return
        await handle(self.member, frame)

    async def _resume(self, member: hubs.Member, frame: dict[str, Any]) -> None:
        cursor = frame.get("cursor")
        if type(cursor) is not int or not 0 <= cursor < 2**63:
            member.put('{"type":"error","code":"malformed"}')
            return
        for text in await self.hub.replay(member, cursor):
            await self.send(text)

    async def _auth(self, member: hubs.Member, frame: dict[str, Any]) -> None:
        """Go on with a fresh credential of the same person."""
        ticket = frame.get("ticket")
        admission = await self.hub.query(redeem_ticket, ticket) if isinstance(ticket, str) else None
        if admission is None:
            member.close(hubs.UNAUTHENTICATED)
        elif str(admission.user.pk) != member.user_key or admission.organization_key != member.organization_key:
            member.close(hubs.FORBIDDEN)
        else:
            member.session, member.expires_at, member.warned = admission.session, admission.expires_at, False
            member.put(await self.hub.hello(member))

    async def _ping(self, member: hubs.Member, frame: dict[str, Any]) -> None:
        member.put('{"type":"pong"}')

    async def _write(self, member: hubs.Member) -> None:
        while True:
            item = await member.queue.get()
            if isinstance(item, int):
                await self.close(item)
                return
            await self.send(item)

    async def _admission(self, offered: list[str]) -> Admission | int:
        """Who may come in, or the code of the refusal."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.scope["headers"]}
        if not _from_allowed_origin(headers):
            return hubs.FORBIDDEN
        if PROTOCOL not in offered:
            return hubs.BAD_PROTOCOL
        tickets = [each.removeprefix("ticket.") for each in offered if each.startswith("ticket.")]
        if tickets:
            admission = await self.hub.query(redeem_ticket, tickets[0]) if len(tickets) == 1 else None
        else:
            admission = await self.hub.query(_by_header, headers)
        if admission is None:
            return hubs.UNAUTHENTICATED
        named = parse_qs(self.scope.get("query_string", b"").decode("latin-1")).get("organization")
        # The page shows one organization and the ticket is for another: neither would know what it sees.
        return hubs.FORBIDDEN if named and named != [admission.organization_key] else admission


def _by_header(headers: dict[str, str]) -> Admission | None:
    """By the Authorization header of a program that can send one; never by cookies, which any page's socket sends."""
    if "authorization" not in headers:
        return None
    from dovetail_notify.api.stream import StreamView

    plain = HttpRequest()
    plain.method = "GET"
    plain.META |= {
        f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items() if name != "cookie"
    }
    view = StreamView()
    try:
        request = view.initialize_request(plain)
        if not IsRecipient().has_permission(request, view):
            return None
        session, expires_at = conf.CREDENTIAL(request)
        return Admission(request.user, organization_key(request), session or "", expires_at)
    except APIException:
        return None


def _from_allowed_origin(headers: dict[str, str]) -> bool:
    """Of a browser, which always says it: a page of ``ALLOWED_HOSTS``, ``CSRF_TRUSTED_ORIGINS`` or
    ``CORS_ALLOWED_ORIGINS``."""
    origin = headers.get("origin")
    if origin is None:
        return True
    allowed = [*settings.CSRF_TRUSTED_ORIGINS, *getattr(settings, "CORS_ALLOWED_ORIGINS", [])]
    host = urlsplit(origin).hostname
    hosts = settings.ALLOWED_HOSTS or (["localhost", "127.0.0.1", "[::1]"] if settings.DEBUG else [])
    return origin in allowed or (host is not None and validate_host(host, hosts))


websocket_urlpatterns: list[URLPattern] = [
    re_path(r"^ws/notifications/$", NotificationConsumer.as_asgi()),
]


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Django over HTTP, and notifications at ``/ws/notifications/``; other sockets are refused."""
    if scope["type"] == "websocket":
        if scope["path"].lstrip("/") == "ws/notifications/":
            await NotificationConsumer.as_asgi()(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 4404})
    elif scope["type"] == "http":
        await _django()(scope, receive, send)


def _django() -> Any:
    from django.core.handlers.asgi import ASGIHandler

    if "handler" not in _made:
        _made["handler"] = ASGIHandler()
    return _made["handler"]


_made: dict[str, Any] = {}
