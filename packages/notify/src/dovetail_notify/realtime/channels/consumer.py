"""The consumer of one WebSocket."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from contextlib import suppress
from typing import Any

from channels.consumer import get_handler_name  # type: ignore[import-untyped]  # has no types
from channels.generic.websocket import AsyncWebsocketConsumer  # type: ignore[import-untyped]

from dovetail_notify.realtime import admission, frames
from dovetail_notify.realtime.database_thread import in_database_thread
from dovetail_notify.realtime.hub import Hub
from dovetail_notify.realtime.protocol import (
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
from dovetail_notify.realtime.socket_authentication import header, renew
from dovetail_notify.realtime.sockets import Socket, fingerprint

logger = logging.getLogger("dovetail.notify")

#: How long a client that does not read can delay the close of its socket.
LAST_SEND_SECONDS = 5.0


class NotificationConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # Channels has no types
    """One socket of the protocol ``notify.v1``. The hub does the work that all sockets of a process share."""

    # No layer has this name. Otherwise Channels would subscribe every socket and wake each for every message.
    channel_layer_alias = "dovetail_notify"

    async def dispatch(self, message: dict[str, Any]) -> None:
        # Channels' own dispatch() closes old database connections before each message: a call to the database thread
        # for each frame and, with CONN_MAX_AGE = 0, a new connection for each socket. in_database_thread() renews them.
        if (handler := getattr(self, get_handler_name(message), None)) is None:
            await super().dispatch(message)  # raises the error for unknown messages
        else:
            await handler(message)

    async def connect(self) -> None:
        self.socket: Socket | None = None
        self.pump: asyncio.Task[None] | None = None
        # One send at a time, so that missed and new frames do not mix.
        self.sending = asyncio.Lock()
        self.frame_times: deque[float] = deque(maxlen=FRAMES)
        offered = self.scope.get("subprotocols") or ()
        # Never the ticket. Chrome requires one of the offered subprotocols, but proxies log responses.
        await self.accept(PROTOCOL if PROTOCOL in offered else None)
        try:
            admitted, organizations = await admission.admit(self.scope)
            self.socket, self.hub = Socket(admitted, organizations), Hub.current()
            await self.hub.add(self.socket)
            # Read after the hub has added the socket, so that no row is missed between this count and the first frame.
            opening = await admission.opening(admitted, organizations)
        except Refused as refused:
            await self.refuse(refused)
        except Exception:
            logger.exception("A socket could not be opened.")
            await self.refuse(Refused(UNAVAILABLE, "unavailable"))
        else:
            state = {"cursor": opening.cursor, "unread": opening.unread, "capped": opening.capped}
            await self.text(frame("hello", **state, expires_in=self.socket.expires_in))
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
        with suppress(Exception):  # the client may have closed the socket
            await self.close(refused.code, refused.reason)

    def leave(self) -> None:
        socket, self.socket = self.socket, None
        if socket is not None:
            self.hub.remove(socket)

    def _admit_frame(self, text: str | None, data: bytes | None) -> None:
        now = time.monotonic()
        if len(self.frame_times) == FRAMES and now - self.frame_times[0] < FRAMES_SECONDS:
            raise Refused(TOO_MANY, "too_many_frames")
        self.frame_times.append(now)
        if len(data or b"") > FRAME_BYTES or len((text or "").encode(errors="replace")) > FRAME_BYTES:
            raise Refused(TOO_BIG, "too_big")

    async def _answer(self, socket: Socket, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "ping":
            await self.text(frame("pong"))
        elif kind == "resume":
            await self._resume(socket, message.get("cursor"))
        elif kind == "auth":
            origin = header(self.scope, b"origin")
            renewed = await in_database_thread(renew, socket.admission, message.get("ticket"), origin)
            socket.admission, socket.fingerprint = renewed, fingerprint(renewed.user)
            socket.expire_at(renewed.expires_at)
            await self.text(frame("authenticated", expires_in=socket.expires_in))
        elif kind != "pong":
            await self.text(frame("error", detail="Known frames are resume, auth, ping and pong."))

    async def _resume(self, socket: Socket, cursor: Any) -> None:
        since = frames.parse_cursor(cursor)
        if since is None:
            await self.text(frame("error", detail="resume takes the cursor of the last frame that had one."))
            return
        async with self.sending:
            missed, end = await in_database_thread(frames.missed, socket.admission, since)
            last = frame(
                "resumed" if missed is not None else "resync",
                **({"replayed": len(missed)} if missed is not None else {}),
                cursor=end.cursor,
                unread=end.unread,
                capped=end.capped,
            )
            for text in (*(missed or ()), last):
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
        except Exception as error:  # noqa: BLE001  # the client is gone; its disconnect follows
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
