"""Routes WebSockets to their consumers."""

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

# Add your own consumers here. scope["user"] is the user of the session or the API key. scope["auth"] is the API key, if
# any: check its scopes. scope["organization_id"] is the active organization.
websocket_urlpatterns: list[URLPattern] = []


class BrowserOrigin(OriginValidator):  # type: ignore[misc]  # Channels has no types
    """Reject pages of other origins. Other programs can omit or forge the origin, and need credentials anyway."""

    def valid_origin(self, parsed_origin: Any) -> bool:
        return parsed_origin is None or super().valid_origin(parsed_origin)


async def refuse(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Close during the handshake, which the client sees as 403.

    Without this consumer, a socket on an unknown path raises ``ValueError`` and logs a traceback.
    """
    await receive()
    await send({"type": "websocket.close"})


def websockets() -> Any:
    # URLRouter takes ASGI applications, but Django's types only allow views.
    nowhere = re_path(r"", refuse)  # type: ignore[arg-type]
    # The API key middleware runs after the session middleware, which would otherwise replace the key's user.
    own = AuthMiddlewareStack(APIKeyAuthMiddleware(TenantASGIMiddleware(URLRouter([*websocket_urlpatterns, nowhere]))))
    hosts = settings.ALLOWED_HOSTS or (["localhost", "127.0.0.1", "[::1]"] if settings.DEBUG else [])
    # Notification sockets authenticate by a ticket and not by a cookie, so no session is loaded for them. They reject
    # API keys, which have no inbox.
    sockets = URLRouter([*notify.websocket_urlpatterns, re_path(r"", own)])
    return BrowserOrigin(sockets, [*hosts, *settings.CORS_ALLOWED_ORIGINS])
