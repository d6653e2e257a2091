"""The Channels consumer of one WebSocket."""

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

from dovetail_notify.realtime import frames, protocol
from dovetail_notify.realtime.database_thread import in_database_thread
from dovetail_notify.realtime.hub import Hub
from dovetail_notify.realtime.protocol import Refused, frame
from dovetail_notify.realtime.socket_authentication import header, renew
from dovetail_notify.realtime.sockets import Socket, fingerprint

logger = logging.getLogger("dovetail.notify")

#: How long a client that does not read can delay the close of its socket.
LAST_SEND_SECONDS = 5.0


class NotificationConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # Channels has no types
    """One socket of the protocol ``notify.v1``. The hub does the work that is the same for all sockets of a process."""

    # No layer has this name. Otherwise Channels would subscribe each socket and wake it for every message.
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
        # Held while missed frames are sent, so that new frames come after them.
        self.sending = asyncio.Lock()
        self.frame_times: deque[float] = deque(maxlen=protocol.FRAMES)
        offered = self.scope.get("subprotocols") or ()
        # Chrome requires one of the offered subprotocols. Never the ticket, because proxies log responses.
        await self.accept(protocol.PROTOCOL if protocol.PROTOCOL in offered else None)
        try:
            admitted = await Hub.current().admit(self.scope)
            self.socket, self.hub = Socket(*admitted), Hub.current()
            await self.hub.add(self.socket)
            # After the hub has added the socket, so that no row is missed between this count and the first frame.
            opening = await self.hub.opening(admitted)
        except Refused as refused:
            await self.refuse(refused)
        except Exception:
            logger.exception("A socket could not be opened.")
            await self.refuse(Refused(protocol.UNAVAILABLE, "unavailable"))
        else:
            await self.text(frame("hello", **opening._asdict(), expires_in=self.socket.expires_in))
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
            self._check_limits(text_data, bytes_data)
            await self._answer(self.socket, _parse(text_data))
        except Refused as refused:
            await self.refuse(refused)
        except Exception:
            logger.exception("A frame could not be answered.")
            await self.refuse(Refused(protocol.UNAVAILABLE, "unavailable"))

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

    def _check_limits(self, text: str | None, data: bytes | None) -> None:
        now = time.monotonic()
        if len(self.frame_times) == protocol.FRAMES and now - self.frame_times[0] < protocol.FRAMES_SECONDS:
            raise Refused(protocol.TOO_MANY, "too_many_frames")
        self.frame_times.append(now)
        if len(data or b"") > protocol.FRAME_BYTES or len((text or "").encode(errors="replace")) > protocol.FRAME_BYTES:
            raise Refused(protocol.TOO_BIG, "too_big")

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
            await self.text(frame("error", detail="The type of a frame is resume, auth, ping or pong."))

    async def _resume(self, socket: Socket, cursor: object) -> None:
        since = frames.parse_cursor(cursor)
        if since is None:
            await self.text(frame("error", detail="The cursor is invalid. Send the cursor of the last frame with one."))
            return
        async with self.sending:
            for text in await in_database_thread(frames.missed, socket.admission, since):
                await self.base_send({"type": "websocket.send", "text": text})

    def _last_send(self) -> None:
        self.leave()
        if self.pump is not None:
            asyncio.get_running_loop().call_later(LAST_SEND_SECONDS, self.pump.cancel)

    async def _pump(self, socket: Socket) -> None:
        try:
            while True:
                await self.text(await socket.take())
        except Refused as refused:
            await self.refuse(refused)
        except asyncio.CancelledError:
            if socket.closing is None:
                raise
            await self.refuse(socket.closing)
        except Exception as error:  # noqa: BLE001  # the client is gone; its disconnect follows
            logger.debug("A frame could not be sent: %s.", type(error).__name__)
            self.leave()


def _parse(text: str | None) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        if isinstance(message := json.loads(text or ""), dict):
            return message
    raise Refused(protocol.MALFORMED, "malformed")
