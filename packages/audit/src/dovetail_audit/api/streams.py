"""Responses that stream an export, under WSGI and ASGI."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse

from dovetail_audit.exports.writer import FORMATS


def stream(request: HttpRequest, chunks: Iterator[bytes], name: str) -> StreamingHttpResponse:
    """Return the response with the chunks of an export in the format ``name``, for download."""
    chosen = FORMATS[name]
    # Django reads a plain iterator into memory before it sends the first byte under ASGI.
    content: Any = _asynchronous(chunks) if isinstance(request, ASGIRequest) else chunks
    headers = {
        "Content-Disposition": f'attachment; filename="audit-log.{chosen.extension}"',
        "Cache-Control": "no-store",
        # nginx would buffer the stream on its disk.
        "X-Accel-Buffering": "no",
    }
    return StreamingHttpResponse(content, content_type=chosen.content_type, headers=headers)


async def _asynchronous(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    while chunk := await sync_to_async(_following)(chunks):
        yield chunk


def _following(chunks: Iterator[bytes]) -> bytes:
    # StopIteration cannot leave a coroutine.
    return next(chunks, b"")
