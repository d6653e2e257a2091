"""Notifications over WebSockets, with Django Channels.

In the project's ``asgi.py``::

    from dovetail_notify.contrib.channels import websocket_urlpatterns

    application = ProtocolTypeRouter({"http": get_asgi_application(), "websocket": URLRouter(websocket_urlpatterns)})

A project that has no sockets of its own serves ``dovetail_notify.contrib.channels_asgi:application`` instead.
The consumer authenticates by itself (see ``dovetail_notify.protocol``) and needs no middleware around it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from contextlib import suppress
from functools import cache
from typing import Any

from channels.consumer import get_handler_name  # type: ignore[import-untyped]  # has no types
from channels.generic.websocket import AsyncWebsocketConsumer  # type: ignore[import-untyped]
from django.urls import URLPattern, path

from dovetail_notify import arrivals, frames
from dovetail_notify.handshake import header, renewed
from dovetail_notify.hub import Hub, in_thread
from dovetail_notify.protocol import (
    FRAME_BYTES,
    FRAMES,
    FRAMES_SECONDS,
    MALFORMED,
    PROTOCOL,
    TOO_BIG,
    TOO_MANY,
    UNAVAILABLE,
    Refused,
    frame,
)
from dovetail_notify.sockets import Socket, fingerprint

logger = logging.getLogger("dovetail.notify")

#: For how long a peer that reads nothing holds up the end of its socket.
LAST_SEND_SECONDS = 5.0


class NotificationConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # Channels has no types
    """One socket: ``notify.v1``. What all sockets of the process have in common is the hub's."""

    # No layer has this name. Otherwise Channels would subscribe each socket by itself, and wake each for each message.
    channel_layer_alias = "dovetail_notify"

    async def dispatch(self, message: dict[str, Any]) -> None:
        # Channels' own has the database's thread close its old connections before each message: a turn of that thread
        # for each frame, and with CONN_MAX_AGE = 0 a new connection for each socket. in_thread() renews them.
        if (handler := getattr(self, get_handler_name(message), None)) is None:
            await super().dispatch(message)  # which says so
        else:
            await handler(message)

    async def connect(self) -> None:
        self.socket: Socket | None = None
        self.pump: asyncio.Task[None] | None = None
        # One send at a time, so that what was missed is not mixed with what is new.
        self.sending = asyncio.Lock()
        self.arrivals: deque[float] = deque(maxlen=FRAMES)
        offered = self.scope.get("subprotocols") or ()
        # Never the ticket: Chrome wants one of those offered, and answers are logged by proxies.
        await self.accept(PROTOCOL if PROTOCOL in offered else None)
        try:
            admission, organizations = await arrivals.admit(self.scope)
            self.socket, self.hub = Socket(admission, organizations), Hub.current()
            await self.hub.add(self.socket)
            # Now that whatever comes is kept for it: nothing falls between what is counted here and what follows.
            opening = await arrivals.opening(admission, organizations)
        except Refused as refused:
            await self.refuse(refused)
        except Exception:
            logger.exception("A socket could not be opened.")
            await self.refuse(Refused(UNAVAILABLE, "unavailable"))
        else:
            shown = {"cursor": opening.cursor, "unread": opening.unread, "capped": opening.capped}
            await self.text(frame("hello", **shown, expires_in=self.socket.expires_in))
            self.pump = asyncio.create_task(self._pump(self.socket))
            self.socket.on_close = self._last_send

    async def disconnect(self, code: int) -> None:
        self.leave()
        if self.pump is not None:
            self.pump.cancel()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.socket is None:
            return
        try:
            self._admit_frame(text_data, bytes_data)
            await self._answer(self.socket, _parsed(text_data))
        except Refused as refused:
            await self.refuse(refused)
        except Exception:
            logger.exception("A frame could not be answered.")
            await self.refuse(Refused(UNAVAILABLE, "unavailable"))

    async def text(self, text: str) -> None:
        async with self.sending:
            await self.base_send({"type": "websocket.send", "text": text})

    async def refuse(self, refused: Refused) -> None:
        self.leave()
        with suppress(Exception):  # it may have gone by itself
            await self.close(refused.code, refused.reason)

    def leave(self) -> None:
        socket, self.socket = self.socket, None
        if socket is not None:
            self.hub.remove(socket)

    def _admit_frame(self, text: str | None, data: bytes | None) -> None:
        now = time.monotonic()
        if len(self.arrivals) == FRAMES and now - self.arrivals[0] < FRAMES_SECONDS:
            raise Refused(TOO_MANY, "too_many_frames")
        self.arrivals.append(now)
        if len(data or b"") > FRAME_BYTES or len((text or "").encode(errors="replace")) > FRAME_BYTES:
            raise Refused(TOO_BIG, "too_big")

    async def _answer(self, socket: Socket, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "ping":
            await self.text(frame("pong"))
        elif kind == "resume":
            await self._resume(socket, message.get("cursor"))
        elif kind == "auth":
            admission = await in_thread(renewed, socket.admission, message.get("ticket"), header(self.scope, b"origin"))
            socket.admission, socket.fingerprint = admission, fingerprint(admission.user)
            socket.expire_at(admission.expires_at)
            await self.text(frame("authenticated", expires_in=socket.expires_in))
        elif kind != "pong":
            await self.text(frame("error", detail="Known frames are resume, auth, ping and pong."))

    async def _resume(self, socket: Socket, cursor: Any) -> None:
        since = frames.parse_cursor(cursor)
        if since is None:
            await self.text(frame("error", detail="resume takes the cursor of the last frame that had one."))
            return
        async with self.sending:
            found, end = await in_thread(frames.missed, socket.admission, since)
            last = frame(
                "resumed" if found is not None else "resync",
                **({"replayed": len(found)} if found is not None else {}),
                cursor=end.cursor,
                unread=end.unread,
                capped=end.capped,
            )
            for text in (*(found or ()), last):
                await self.base_send({"type": "websocket.send", "text": text})

    def _last_send(self) -> None:
        self.leave()
        if self.pump is not None:
            asyncio.get_running_loop().call_later(LAST_SEND_SECONDS, self.pump.cancel)

    async def _pump(self, socket: Socket) -> None:
        try:
            while True:
                text = await socket.take()
                async with self.sending:
                    await self.base_send({"type": "websocket.send", "text": text})
        except Refused as refused:
            await self.refuse(refused)
        except asyncio.CancelledError:
            if socket.closing is None:
                raise
            await self.refuse(socket.closing)
        except Exception as error:  # noqa: BLE001  # the peer is gone; its disconnect follows
            logger.debug("A socket ended while it was written to: %s.", type(error).__name__)
            self.leave()


def _parsed(text: str | None) -> dict[str, Any]:
    try:
        message = json.loads(text or "")
    except (ValueError, RecursionError) as error:
        raise Refused(MALFORMED, "malformed") from error
    if not isinstance(message, dict):
        raise Refused(MALFORMED, "malformed")
    return message


websocket_urlpatterns: list[URLPattern] = [path("ws/notifications/", NotificationConsumer.as_asgi())]

_consumer = NotificationConsumer.as_asgi()


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Django over HTTP, and notifications at ``/ws/notifications/``; other sockets are refused."""
    if scope["type"] == "http":
        await _django()(scope, receive, send)
    elif scope["type"] == "websocket" and scope["path"] == "/ws/notifications/":
        await _consumer(scope, receive, send)
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 4404})
    else:
        # As Django's own does of a server's "lifespan", which servers take for "not supported".
        raise ValueError(f"Django can only handle ASGI/HTTP connections and WebSockets, not {scope['type']}.")


@cache
def _django() -> Any:
    from django.core.asgi import get_asgi_application

    return get_asgi_application()
