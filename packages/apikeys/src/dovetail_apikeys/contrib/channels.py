"""API keys for WebSockets: around the consumers, inside ``AllowedHostsOriginValidator`` and ``AuthMiddlewareStack``::

    AllowedHostsOriginValidator(AuthMiddlewareStack(APIKeyAuthMiddleware(URLRouter([…]))))

Machines send the headers that they send to the API. Browsers cannot set headers on a WebSocket and have no key; a key
in the address would end in every log on the way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest

from dovetail_apikeys.authenticate import InvalidKey, authenticate, principal_of
from dovetail_apikeys.credential import APIKeyCredential

Scope = MutableMapping[str, Any]


class APIKeyAuthMiddleware:
    """Puts ``scope["user"]`` and ``scope["auth"]`` where a key came with the handshake; refuses it (403) if it is bad.

    Without a key the connection goes on as it is. ``AuthMiddlewareStack`` stands around it: inside, it would write its
    own user over the key's. A socket that is open outlives its key: consumers that stay open for hours ask
    ``scope["auth"].instance.status`` now and then.
    """

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        try:
            found = await sync_to_async(_authenticate)(_request(scope))
        except InvalidKey:
            await receive()
            await send({"type": "websocket.close", "code": 4401})
            return
        if found is not None:
            principal, credential = found
            scope = {**scope, "user": principal, "auth": credential}
        await self.application(scope, receive, send)


def _authenticate(request: HttpRequest) -> tuple[Any, APIKeyCredential] | None:
    credential = authenticate(request)
    if credential is None:
        return None
    principal = principal_of(credential)
    # There is no response to be closed behind which the use is noted.
    request.close()
    return principal, credential


def _request(scope: Scope) -> HttpRequest:
    """The handshake as the request that it is."""
    request = HttpRequest()
    for name, value in scope.get("headers", ()):
        request.META[f"HTTP_{name.decode('latin-1').upper().replace('-', '_')}"] = value.decode("latin-1")
    client = scope.get("client")
    request.META["REMOTE_ADDR"] = client[0] if client else ""
    return request
