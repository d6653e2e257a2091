"""API keys for WebSockets. Wrap the consumers, inside ``AllowedHostsOriginValidator`` and ``AuthMiddlewareStack``::

    AllowedHostsOriginValidator(AuthMiddlewareStack(APIKeyAuthMiddleware(URLRouter([…]))))

Clients send the same headers as to the API. Browsers cannot set headers on a WebSocket, and have no keys. A key in the
URL is not supported, because access logs would contain it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest

from dovetail_apikeys.principal.api_key import APIKeyCredential
from dovetail_apikeys.verification.authentication import InvalidKey, authenticate, principal_of

Scope = MutableMapping[str, Any]


class APIKeyAuthMiddleware:
    """Sets ``scope["user"]`` and ``scope["auth"]`` from the key of the handshake, and refuses a bad key (403).

    A connection without a key is passed on unchanged. ``AuthMiddlewareStack`` must be outside: inside, it would replace
    the key's user. An open socket outlives its key: consumers that stay open for hours should check
    ``scope["auth"].instance.status`` from time to time.
    """

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        try:
            authenticated = await sync_to_async(_authenticate)(_request(scope))
        except InvalidKey:
            await receive()
            await send({"type": "websocket.close", "code": 4401})
            return
        if authenticated is not None:
            principal, credential = authenticated
            scope = {**scope, "user": principal, "auth": credential}
        await self.application(scope, receive, send)


def _authenticate(request: HttpRequest) -> tuple[Any, APIKeyCredential] | None:
    credential = authenticate(request)
    if credential is None:
        return None
    principal = principal_of(credential)
    # There is no response whose closing would record the use.
    request.close()
    return principal, credential


def _request(scope: Scope) -> HttpRequest:
    """The handshake as a Django request."""
    request = HttpRequest()
    for name, value in scope.get("headers", ()):
        request.META[f"HTTP_{name.decode('latin-1').upper().replace('-', '_')}"] = value.decode("latin-1")
    client = scope.get("client")
    request.META["REMOTE_ADDR"] = client[0] if client else ""
    return request
