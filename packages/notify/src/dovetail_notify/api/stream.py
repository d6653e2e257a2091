from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponseBase, StreamingHttpResponse
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.views import APIView

from dovetail_notify import hub as hubs
from dovetail_notify.api.permissions import IsRecipient
from dovetail_notify.api.views import organization_key
from dovetail_notify.conf import conf
from dovetail_notify.tickets import Admission

KEEP_ALIVE_SECONDS: Final = 20.0


class StreamUnavailable(APIException):
    status_code = status.HTTP_501_NOT_IMPLEMENTED
    default_detail = "Server-sent events need an ASGI server; this one is WSGI. Poll the list instead."
    default_code = "stream_unavailable"


class AnyAccept(BaseContentNegotiation):
    """Browsers ask for ``text/event-stream`` alone, and DRF would say 406 before the view is asked."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class StreamView(APIView):
    """New notifications as they come, as server-sent events: for clients that a proxy lets have no WebSocket.

    Events are the frames of ``notify.v1`` under their type; `Last-Event-ID` resumes after what was seen.
    """

    permission_classes = (IsRecipient,)
    content_negotiation_class = AnyAccept

    def get(self, request: Request) -> HttpResponseBase:
        # Under WSGI a stream would hold a worker for as long as somebody listens.
        if not isinstance(request._request, ASGIRequest):
            raise StreamUnavailable
        session, expires_at = conf.CREDENTIAL(request)
        admission = Admission(request.user, organization_key(request), session or "", expires_at)
        given = request.headers.get("Last-Event-ID", "")
        cursor = int(given) if given.isascii() and given.isdecimal() and len(given) < 19 else None
        return StreamingHttpResponse(
            _events(admission, cursor),
            content_type="text/event-stream",
            # nginx would otherwise hold events back until its buffer is full.
            headers={"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"},
        )


async def _events(admission: Admission, cursor: int | None) -> AsyncIterator[bytes]:
    hub = hubs.current_hub()
    member = await hub.admit(admission)
    if member is None:
        yield _event(f'{{"type":"end","code":{hubs.TOO_MANY}}}')
        return
    try:
        yield _event(await hub.hello(member))
        for text in await hub.replay(member, cursor) if cursor is not None else []:
            yield _event(text)
        while True:
            item: str | int | None = None
            with contextlib.suppress(TimeoutError):
                item = await asyncio.wait_for(member.queue.get(), KEEP_ALIVE_SECONDS)
            if isinstance(item, int):
                yield _event(f'{{"type":"end","code":{item}}}')
                return
            yield b":\n\n" if item is None else _event(item)
    finally:
        # Whoever closes the page cancels this generator.
        await asyncio.shield(hub.leave(member))


def _event(text: str) -> bytes:
    """The frame's type is the event's name; a notification's cursor is its id. Frames begin with these."""
    kind = text.split('"', 4)[3]
    lines = [f"event: {kind}", f"data: {text}"]
    if kind == "notification":
        cursor = text.split('"cursor":', 1)[1].split(",", 1)[0]
        lines.insert(0, f"id: {cursor}")
    return ("\n".join(lines) + "\n\n").encode()
