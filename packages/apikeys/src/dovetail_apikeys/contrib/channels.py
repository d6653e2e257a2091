"""Authentication of WebSockets by API key::

    AllowedHostsOriginValidator(AuthMiddlewareStack(APIKeyAuthMiddleware(URLRouter([…]))))

Clients send the same headers as to the API. Browsers cannot set headers on a WebSocket, and have no keys. A key in the
URL is not supported, because access logs would contain it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from asgiref.sync import sync_to_async
from django.http import HttpRequest

from dovetail_apikeys.principal import APIKeyCredential
from dovetail_apikeys.verification.authentication import InvalidKey, authenticate, principal_of
from dovetail_core.net import environ_name

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]


class APIKeyAuthMiddleware:
    """Set ``scope["user"]`` and ``scope["auth"]`` by the key of the handshake, and reject an invalid key (403).

    A connection without a key is passed on unchanged. Put this middleware inside ``AuthMiddlewareStack``, which would
    otherwise replace the user. The key is not checked again while the socket is open: consumers that stay open for
    hours should check ``scope["auth"].instance.status`` periodically.
    """

    def __init__(self, application: Callable[..., Awaitable[Any]]) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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
    # Closing records the use. No response closes this request.
    request.close()
    return principal, credential


def _request(scope: Scope) -> HttpRequest:
    request = HttpRequest()
    for raw, value in scope.get("headers", ()):
        name, text = raw.decode("latin-1"), value.decode("latin-1")
        # X_Forwarded_For has the key of X-Forwarded-For: a client would forge its address, and evade network limits.
        if "_" in name:
            continue
        key = environ_name(name)
        # Joined like in Django's requests: the proxy's value must not be lost if the client sends another.
        request.META[key] = f"{request.META[key]},{text}" if key in request.META else text
    client = scope.get("client")
    request.META["REMOTE_ADDR"] = client[0] if client else ""
    return request
