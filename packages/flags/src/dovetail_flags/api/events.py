"""Server-sent events that tell OFREP clients to ask again (ADR 0008 of OFREP), under ASGI.

A browser's EventSource sends no Authorization header, so the answer of a bulk evaluation has the URL of a stream with a
ticket. A ticket opens one stream, for a minute. A stream contains no flags: it says that something has changed, and the
client asks for its own flags with its credential and its ETag.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any, Final
from urllib.parse import urlencode

from asgiref.sync import sync_to_async
from django.core import signing
from django.core.cache import cache
from django.core.handlers.asgi import ASGIRequest
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _

from dovetail_flags.evaluation.facade import flags
from dovetail_flags.types.context import Context

TICKET_SECONDS: Final = 60
#: Seconds between two looks at the flags of the process, which are read once for all streams.
LOOK_SECONDS: Final = 0.5
#: Seconds until a client asks again although no flag has changed: the schedule of a rule may have begun.
ASK_SECONDS: Final = 60.0
#: Seconds until a stream ends. Its client then asks with its credential, and gets a ticket if that is still valid.
STREAM_SECONDS: Final = 900.0
KEEP_ALIVE_SECONDS: Final = 15.0

_SALT: Final = "dovetail_flags.events"
#: Streams of one caller in a process, such as the tabs of a browser. A further one ends the oldest, so that nobody
#: holds all connections of a server.
STREAMS: Final = 10
#: Streams of a process, because anonymous clients can be any number of callers. Further clients poll.
ALL_STREAMS: Final = 1000
_ANONYMOUS: Final = "anonymous:"
#: The open streams of the process, oldest first, with their callers.
_streams: dict[object, str] = {}


def caller_of(user: Any, context: Context) -> str:
    """Return the kind and the key of a caller: an anonymous client with the key 7 is not the user 7."""
    if not getattr(user, "is_authenticated", False):
        return f"{_ANONYMOUS}{context.targeting_key}"
    kind = "user" if hasattr(user, "get_session_auth_hash") else "machine"
    return f"{kind}:{getattr(user, 'pk', None) or context.targeting_key}"


def streams(request: HttpRequest, caller: str) -> list[dict[str, Any]]:
    """Return the member ``eventStreams`` of a bulk evaluation.

    It is empty if the process has no room, and under WSGI, where streams would hold threads. Clients then poll.
    """
    if not isinstance(request, ASGIRequest) or not _has_room(caller):
        return []
    ticket = signing.dumps({"caller": caller, "nonce": secrets.token_urlsafe(12)}, salt=_SALT, compress=False)
    path = request.path.rstrip("/").removesuffix("evaluate/flags")
    return [{"type": "sse", "endpoint": {"requestUri": f"{path}events?{urlencode({'ticket': ticket})}"}}]


@transaction.non_atomic_requests
async def events(request: HttpRequest) -> HttpResponseBase:
    """``GET /ofrep/v1/events``."""
    if request.method != "GET":
        return HttpResponse(status=405, headers={"Allow": "GET"})
    if not isinstance(request, ASGIRequest):
        return _refused(501, _("Event streams require an ASGI server. Poll the bulk evaluation instead."))
    caller = await _redeemed(request.GET.get("ticket", ""))
    if caller is None:
        return _refused(403, _("The ticket is invalid, expired or used. Each bulk evaluation has a new one."))
    if not _has_room(caller):
        return _refused(503, _("There are too many event streams. Poll the bulk evaluation instead."))
    # Django would close them at the end of the stream only, and each stream would hold a connection to the database.
    await sync_to_async(_close_connections)()
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(_stream(caller), content_type="text/event-stream", headers=headers)


async def _redeemed(ticket: str) -> str | None:
    """Return the caller of a ticket, or None if it is invalid or used."""
    try:
        content = signing.loads(ticket, salt=_SALT, max_age=TICKET_SECONDS)
    except signing.BadSignature:
        return None
    is_first = await cache.aadd(f"dovetail_flags.ticket:{content['nonce']}", 1, TICKET_SECONDS)
    return str(content["caller"]) if is_first else None


class _Look:
    """The last look at the flags of the process, which all streams share."""

    token: str | None = None
    due = 0.0
    running = False


async def _current_token() -> str | None:
    if monotonic() >= _Look.due and not _Look.running:
        _Look.running = True
        try:
            _Look.token = await asyncio.to_thread(_read_token)
        finally:
            _Look.running = False
            _Look.due = monotonic() + LOOK_SECONDS
    return _Look.token


def _read_token() -> str | None:
    try:
        return flags.token()
    finally:
        _close_connections()


def _close_connections() -> None:
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


def _oldest(caller: str) -> object | None:
    """Return the stream that a new one of the caller ends, or None.

    Clients with a credential end streams of anonymous ones, which could otherwise hold all of them.
    """
    own = [stream for stream, other in _streams.items() if other == caller]
    if len(own) >= STREAMS:
        return own[0]
    if len(_streams) < ALL_STREAMS or caller.startswith(_ANONYMOUS):
        return None
    return next((stream for stream, other in _streams.items() if other.startswith(_ANONYMOUS)), None)


def _has_room(caller: str) -> bool:
    return len(_streams) < ALL_STREAMS or _oldest(caller) is not None


async def _stream(caller: str) -> AsyncIterator[bytes]:
    # Again, and not in the view alone: a client that leaves before the first part would hold its place forever.
    if not _has_room(caller):
        return
    _streams.pop(_oldest(caller), None)
    mine = object()
    _streams[mine] = caller
    end, ask, keep_alive = monotonic() + STREAM_SECONDS, monotonic() + ASK_SECONDS, 0.0
    try:
        token = await _current_token()
        while mine in _streams and (now := monotonic()) < end:
            if (current := await _current_token()) != token or now >= ask:
                token, ask = current, now + ASK_SECONDS
                message = json.dumps({"type": "refetchEvaluation", "etag": token})
                yield f"data: {message}\n\n".encode()
            elif now >= keep_alive:
                keep_alive = now + KEEP_ALIVE_SECONDS
                yield b": keep-alive\n\n"
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        _streams.pop(mine, None)


def _refused(status: int, text: str) -> HttpResponse:
    body = {"status": status, "detail": text, "errorCode": "GENERAL", "errorDetails": text}
    return JsonResponse(body, status=status, content_type="application/problem+json")
