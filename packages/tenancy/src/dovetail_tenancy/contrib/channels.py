"""WebSockets that belong to one organization from the handshake until they close."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async  # type: ignore[import-untyped]
from django.contrib.auth.models import AnonymousUser

from dovetail_tenancy.isolation.background import organization_scope
from dovetail_tenancy.organizations.memberships import is_active_member
from dovetail_tenancy.organizations.project_models import is_person
from dovetail_tenancy.organizations.resolution import (
    HEADER,
    OrganizationMismatch,
    OrganizationNotFound,
    OrganizationRequired,
    resolve_organization,
)

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

NO_MEMBER = 4403
"""The code that a socket is closed with when its person is no member any more."""


class TenantASGIMiddleware:
    """Stands inside of ``AuthMiddlewareStack``: ``AuthMiddlewareStack(TenantASGIMiddleware(URLRouter(…)))``.

    The organization is named by ``?organization=<key>`` (browsers send no headers with a socket) or by
    ``X-Organization-ID``, else by the credential at ``scope["auth"]``, else it is the person's only one. It is active
    in consumers, sync and async, and its key is ``scope["organization_id"]``, None where there is none: such a socket
    may be for something that belongs to no organization. Named and not the person's own: the handshake is refused.

    A socket outlives what its person may do. Every ``verify_seconds`` at most, when something passes over it, the
    membership is asked for again by one query, and a socket without closes with code 4403. 0 asks every time.
    """

    def __init__(self, app: Any, *, verify_seconds: float = 60) -> None:
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
            await send({"type": "websocket.close", "code": NO_MEMBER})
            return
        if organization_id is not None and is_person(handshake.user):
            passing = _Passing(handshake.user, organization_id, receive, send, self.verify_seconds)
            receive, send = passing.receive, passing.send
        with organization_scope(organization_id):
            await self.app({**scope, "organization_id": organization_id}, receive, send)


class _Handshake:
    """As much of a request as finding its organization takes."""

    def __init__(self, scope: dict[str, Any]) -> None:
        self.user: Any = scope.get("user") or AnonymousUser()
        self.auth: Any = scope.get("auth")
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope.get("headers", ())}
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        named = query.get("organization", [headers.get(HEADER.lower())])[-1]
        self.headers = {} if named is None else {HEADER: named}
        self.membership: Any = None


def _organization_of(handshake: _Handshake) -> Any:
    if not handshake.user.is_authenticated:
        return None
    try:
        return resolve_organization(handshake)
    except OrganizationRequired:
        return None


class _Passing:
    """What passes over a socket, as long as the membership lasts."""

    def __init__(self, user: Any, organization_id: Any, receive: Receive, send: Send, seconds: float) -> None:
        self._still_member = database_sync_to_async(lambda: is_active_member(user, organization_id))
        self._receive, self._send = receive, send
        self._seconds, self._asked = seconds, time.monotonic()
        self._closed = False

    async def receive(self) -> dict[str, Any]:
        message = await self._receive()
        if message["type"] == "websocket.receive" and not await self._lasts():
            return {"type": "websocket.disconnect", "code": NO_MEMBER}
        return message

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] != "websocket.send" or await self._lasts():
            await self._send(message)

    async def _lasts(self) -> bool:
        if not self._closed and time.monotonic() - self._asked >= self._seconds:
            self._asked = time.monotonic()
            if not await self._still_member():
                self._closed = True
                await self._send({"type": "websocket.close", "code": NO_MEMBER})
        return not self._closed
