"""Which consumer serves which socket."""

from __future__ import annotations

from typing import Any

from channels.auth import AuthMiddlewareStack  # type: ignore[import-untyped]
from channels.routing import URLRouter  # type: ignore[import-untyped]
from channels.security.websocket import OriginValidator  # type: ignore[import-untyped]
from django.conf import settings
from django.urls import URLPattern, re_path

from dovetail_apikeys.contrib.channels import APIKeyAuthMiddleware
from dovetail_notify.contrib import channels as notify
from dovetail_tenancy.contrib.channels import TenantASGIMiddleware

# Consumers of your own: scope["user"] is the session's, or an API key's with the key in scope["auth"], whose scopes
# they ask for; scope["organization_id"] is the organization that the socket is for.
websocket_urlpatterns: list[URLPattern] = []


class BrowserOrigin(OriginValidator):  # type: ignore[misc]  # Channels has no types
    """Refuses foreign pages. A program sends no origin, or the one it likes: its credential is what counts."""

    def valid_origin(self, parsed_origin: Any) -> bool:
        return parsed_origin is None or super().valid_origin(parsed_origin)


async def refuse(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Close before the handshake ends, which the client sees as 403.

    Without it a socket on an unknown path is a ``ValueError`` with a traceback for whoever cares to knock.
    """
    await receive()
    await send({"type": "websocket.close"})


def websockets() -> Any:
    # The last pattern of each is an ASGI application, as URLRouter takes them; Django's types only know views.
    nowhere = re_path(r"", refuse)  # type: ignore[arg-type]
    # A key is known after the session, which would take its place.
    own = AuthMiddlewareStack(APIKeyAuthMiddleware(TenantASGIMiddleware(URLRouter([*websocket_urlpatterns, nowhere]))))
    hosts = settings.ALLOWED_HOSTS or (["localhost", "127.0.0.1", "[::1]"] if settings.DEBUG else [])
    # Sockets for notifications show a ticket of their own and no cookie: no session is loaded for them. A key has no
    # inbox, and is refused there.
    sockets = URLRouter([*notify.websocket_urlpatterns, re_path(r"", own)])
    return BrowserOrigin(sockets, [*hosts, *settings.CORS_ALLOWED_ORIGINS])
