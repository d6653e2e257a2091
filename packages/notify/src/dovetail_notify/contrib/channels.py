"""Notifications over WebSockets with Django Channels.

Add the URL patterns to your ``asgi.py``::

    from dovetail_notify.contrib.channels import websocket_urlpatterns

    application = ProtocolTypeRouter({"http": get_asgi_application(), "websocket": URLRouter(websocket_urlpatterns)})

A project without other WebSockets can serve ``dovetail_notify.contrib.channels_asgi:application`` instead. The consumer
needs no middleware, because it authenticates sockets itself (see ``dovetail_notify.realtime.protocol``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

from django.core.asgi import get_asgi_application
from django.urls import URLPattern, path

from dovetail_notify.realtime.channels.consumer import NotificationConsumer

__all__ = ["NotificationConsumer", "application", "websocket_urlpatterns"]

websocket_urlpatterns: list[URLPattern] = [path("ws/notifications/", NotificationConsumer.as_asgi())]

_consumer = NotificationConsumer.as_asgi()
_django = cache(get_asgi_application)


async def application(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """Serve Django over HTTP and notifications at ``/ws/notifications/``. Refuse other WebSockets."""
    if scope["type"] == "http":
        await _django()(scope, receive, send)
    elif scope["type"] == "websocket" and scope["path"] == "/ws/notifications/":
        await _consumer(scope, receive, send)
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 4404})
    else:
        # Like Django's own handler. Servers read an error for "lifespan" as "not supported".
        raise ValueError(f"Django can only handle ASGI/HTTP connections and WebSockets, not {scope['type']}.")
