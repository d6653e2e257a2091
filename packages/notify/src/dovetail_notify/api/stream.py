from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.db import connections, transaction
from django.http import HttpResponseBase, StreamingHttpResponse
from django.utils.decorators import method_decorator
from rest_framework import status
from rest_framework.exceptions import APIException, NotAuthenticated, PermissionDenied
from rest_framework.request import Request
from rest_framework.views import APIView

from dovetail_notify.api.permissions import IsRecipient
from dovetail_notify.realtime import admission, frames
from dovetail_notify.realtime.database_thread import in_database_thread
from dovetail_notify.realtime.hub import Hub
from dovetail_notify.realtime.protocol import FORBIDDEN, Refused, frame
from dovetail_notify.realtime.socket_authentication import admission_of, visible_organizations
from dovetail_notify.realtime.sockets import Socket
from dovetail_notify.realtime.tickets import Admission

_PING = frame("ping")


class StreamUnavailable(APIException):
    status_code = status.HTTP_501_NOT_IMPLEMENTED
    default_detail = "Server-sent events need an ASGI server; this one is WSGI. Poll the list instead."
    default_code = "stream_unavailable"


# With ATOMIC_REQUESTS, the transaction would stay open as long as the stream.
@method_decorator(transaction.non_atomic_requests, name="dispatch")
class StreamView(APIView):
    """New notifications as they come, as server-sent events: the frames of `notify.v1`, each with its `type` as event.

    `id` is the cursor. A browser that reconnects sends the last one as `Last-Event-ID`, and gets what it has missed.
    """

    permission_classes = (IsRecipient,)

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        # EventSource accepts only text/event-stream, but errors have the project's own format.
        return super().perform_content_negotiation(request, force=True)

    def get(self, request: Request) -> HttpResponseBase:
        if not isinstance(request._request, ASGIRequest):
            raise StreamUnavailable
        admitted = admission_of(request)
        try:
            organizations = visible_organizations(admitted)
        except Refused as refused:
            raise (PermissionDenied if refused.code == FORBIDDEN else NotAuthenticated) from refused
        since = frames.parse_cursor(request.headers.get("Last-Event-ID"))
        # Closed now, because Django would close them only at the end of the stream.
        for connection in connections.all(initialized_only=True):
            if not connection.in_atomic_block:
                connection.close()
        return StreamingHttpResponse(
            _events(admitted, organizations, since),
            content_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )


async def _events(
    admitted: Admission, organizations: frozenset[str] | None, since: tuple[int, Any] | None
) -> AsyncIterator[bytes]:
    socket, hub = Socket(admitted, organizations), Hub.current()
    try:
        await hub.add(socket)
        opening = await admission.opening(admitted, organizations)
        state = {"cursor": opening.cursor, "unread": opening.unread, "capped": opening.capped}
        # With an id only if nothing is replayed: if the stream breaks before the replay ends, the client asks again.
        yield _event(frame("hello", **state, expires_in=socket.expires_in), "hello", None if since else opening.cursor)
        if since is not None:
            missed, end = await in_database_thread(frames.missed, admitted, since)
            for text in missed or ():
                yield _event(text)
            last = {"cursor": end.cursor, "unread": end.unread, "capped": end.capped}
            kind = "resync" if missed is None else "resumed"
            yield _event(frame(kind, **last), kind, end.cursor)
        while True:
            text = await socket.take()
            yield b": keep-alive\n\n" if text == _PING else _event(text)
    except Refused as refused:
        yield _event(frame("close", code=refused.code, reason=refused.reason), "close")
    except asyncio.CancelledError:  # the client is gone
        raise
    finally:
        hub.remove(socket)


def _event(text: str, kind: str | None = None, cursor: str | None = None) -> bytes:
    """Format a frame as an event. JSON contains no line break, which would end the event."""
    if kind is None:
        kind = text[9 : text.index('"', 9)]  # {"type":"…
    if cursor is None and kind == "notification":
        start = text.index('"cursor":"') + 10
        cursor = text[start : text.index('"', start)]
    return "".join([f"id: {cursor}\n" if cursor else "", f"event: {kind}\n", f"data: {text}\n\n"]).encode()
