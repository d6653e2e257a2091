"""Which consumer serves which socket."""

from __future__ import annotations

from typing import Any

from channels.auth import AuthMiddlewareStack  # type: ignore[import-untyped]
from channels.routing import URLRouter  # type: ignore[import-untyped]
from channels.security.websocket import AllowedHostsOriginValidator  # type: ignore[import-untyped]
from django.urls import URLPattern, re_path

from dovetail_tenancy.contrib.channels import TenantASGIMiddleware

# No package has a consumer yet.
websocket_urlpatterns: list[URLPattern] = []


async def refuse(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Close before the handshake ends, which the client sees as 403.

    Without it a socket on an unknown path is a ``ValueError`` with a traceback for whoever cares to knock.
    """
    await receive()
    await send({"type": "websocket.close"})


def websockets() -> Any:
    # The last pattern is an ASGI application, as URLRouter takes them; Django's types only know views.
    nowhere = re_path(r"", refuse)  # type: ignore[arg-type]
    sockets = TenantASGIMiddleware(URLRouter([*websocket_urlpatterns, nowhere]))
    return AllowedHostsOriginValidator(AuthMiddlewareStack(sockets))
