"""An ASGI middleware that runs each WebSocket for one organization, from the handshake until it closes."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async  # type: ignore[import-untyped]
from django.db.models import Model

from dovetail_tenancy.isolation.scope import organization_scope
from dovetail_tenancy.organizations.project_models import is_active_member, is_person
from dovetail_tenancy.organizations.resolution import (
    HEADER,
    OrganizationMismatch,
    OrganizationNotFound,
    OrganizationRequired,
    resolve_organization,
)

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

NOT_A_MEMBER = 4403
"""The close code of a socket whose user is no longer a member."""


class TenantASGIMiddleware:
    """Activates an organization for a socket: ``AuthMiddlewareStack(TenantASGIMiddleware(URLRouter(…)))``.

    The organization comes from ``?organization=<key>`` (browsers cannot set headers of a socket) or
    ``X-Organization-ID``, else from the credential at ``scope["auth"]``, else from the user's only membership. It is
    active in sync and async consumers, and ``scope["organization_id"]`` is its key. For a socket without an
    organization the key is None. If the user is not a member of the requested organization, the handshake is refused.

    A socket can outlive the membership. When a message passes, at most every ``verify_seconds``, one query checks the
    membership again. If it has ended, the socket closes with code 4403. 0 checks at every message.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], *, verify_seconds: float = 60) -> None:
        self.app = app
        self.verify_seconds = verify_seconds

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
            return
        handshake = _Handshake(scope)
        try:
            organization_id = await database_sync_to_async(_organization_of)(handshake)
        except (OrganizationMismatch, OrganizationNotFound):
            await receive()
            await send({"type": "websocket.close", "code": NOT_A_MEMBER})
            return
        if organization_id is not None and is_person(handshake.user):
            verified = _VerifiedSocket(handshake.user, organization_id, receive, send, self.verify_seconds)
            receive, send = verified.receive, verified.send
        with organization_scope(organization_id):
            await self.app({**scope, "organization_id": organization_id}, receive, send)


class _Handshake:
    """The attributes of a request that ``resolve_organization`` reads."""

    def __init__(self, scope: dict[str, Any]) -> None:
        self.user: Any = scope.get("user")
        self.auth: Any = scope.get("auth")
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope.get("headers", ())}
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        requested = query.get("organization", [headers.get(HEADER.lower())])[-1]
        self.headers = {} if requested is None else {HEADER: requested}
        self.membership: Any = None


def _organization_of(handshake: _Handshake) -> Any:
    if handshake.user is None or not handshake.user.is_authenticated:
        return None
    try:
        return resolve_organization(handshake)
    except OrganizationRequired:
        return None


class _VerifiedSocket:
    def __init__(self, user: Model, organization_id: object, receive: Receive, send: Send, seconds: float) -> None:
        self._is_member = database_sync_to_async(lambda: is_active_member(user, organization_id))
        self._receive, self._send = receive, send
        self._seconds, self._checked_at = seconds, time.monotonic()
        self._closed = False

    async def receive(self) -> dict[str, Any]:
        message = await self._receive()
        if message["type"] == "websocket.receive" and not await self._is_still_member():
            return {"type": "websocket.disconnect", "code": NOT_A_MEMBER}
        return message

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] != "websocket.send" or await self._is_still_member():
            await self._send(message)

    async def _is_still_member(self) -> bool:
        if not self._closed and time.monotonic() - self._checked_at >= self._seconds:
            self._checked_at = time.monotonic()
            if not await self._is_member():
                self._closed = True
                await self._send({"type": "websocket.close", "code": NOT_A_MEMBER})
        return not self._closed
