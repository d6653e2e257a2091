from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final

from django.core.handlers.asgi import ASGIRequest
from django.db import connections, transaction
from django.http import HttpResponseBase, StreamingHttpResponse
from django.utils.decorators import method_decorator
from rest_framework import status
from rest_framework.exceptions import APIException, NotAuthenticated, PermissionDenied
from rest_framework.request import Request
from rest_framework.views import APIView

from dovetail_notify.api.permissions import IsRecipient
from dovetail_notify.realtime import frames
from dovetail_notify.realtime.database_thread import in_database_thread
from dovetail_notify.realtime.hub import Hub
from dovetail_notify.realtime.protocol import FORBIDDEN, Refused, frame
from dovetail_notify.realtime.socket_authentication import Admitted, admission_of, visible_organizations
from dovetail_notify.realtime.sockets import Socket

_PING: Final = frame("ping")
_HEAD: Final = re.compile(r'\{"type":"(\w+)"(?:,"cursor":"([0-9-]+)")?')


class StreamUnavailable(APIException):
    status_code = status.HTTP_501_NOT_IMPLEMENTED
    default_detail = "Server-sent events need an ASGI server. This server uses WSGI. Poll the list instead."
    default_code = "stream_unavailable"


# With ATOMIC_REQUESTS, the transaction would stay open as long as the stream.
@method_decorator(transaction.non_atomic_requests, name="dispatch")
class StreamView(APIView):
    """New notifications as server-sent events. Each event is a frame of `notify.v1`, named by the frame's `type`.

    `id` is the cursor. A browser that reconnects sends the last one as `Last-Event-ID`, and gets the frames it missed.
    """

    permission_classes = (IsRecipient,)

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        # EventSource accepts only text/event-stream, but errors have the project's own format.
        return super().perform_content_negotiation(request, force=True)

    def get(self, request: Request) -> HttpResponseBase:
        if not isinstance(request._request, ASGIRequest):
            raise StreamUnavailable
        user_admission = admission_of(request)
        try:
            admitted = (user_admission, visible_organizations(user_admission))
        except Refused as refused:
            raise (PermissionDenied if refused.code == FORBIDDEN else NotAuthenticated) from refused
        since = frames.parse_cursor(request.headers.get("Last-Event-ID"))
        # Closed now, because Django would close them only at the end of the stream.
        for connection in connections.all(initialized_only=True):
            if not connection.in_atomic_block:
                connection.close()
        return StreamingHttpResponse(
            _events(admitted, since),
            content_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )


async def _events(admitted: Admitted, since: tuple[int, datetime] | None) -> AsyncIterator[bytes]:
    socket, hub = Socket(*admitted), Hub.current()
    try:
        await hub.add(socket)
        opening = await hub.opening(admitted)
        # With an id only if nothing is replayed: if the stream breaks before the replay ends, the client asks again.
        yield _event(frame("hello", **opening._asdict(), expires_in=socket.expires_in), with_id=since is None)
        if since is not None:
            for text in await in_database_thread(frames.missed, socket.admission, since):
                yield _event(text)
        while True:
            text = await socket.take()
            yield b": keep-alive\n\n" if text == _PING else _event(text)
    except Refused as refused:
        yield _event(frame("close", code=refused.code, reason=refused.reason))
    finally:
        hub.remove(socket)


def _event(text: str, *, with_id: bool = True) -> bytes:
    """Format a frame as an event. JSON contains no line break, which would end the event."""
    kind, cursor = _HEAD.match(text).groups()  # type: ignore[union-attr]  # every frame begins like this
    return "".join([f"id: {cursor}\n" if cursor and with_id else "", f"event: {kind}\n", f"data: {text}\n\n"]).encode()
