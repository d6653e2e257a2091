"""Serve HTTP and, with ``WEBSOCKETS_ENABLED``, WebSockets."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

from example_project import garbage

garbage.collect_rarely()
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

# Populates the app registry, which the following imports need.
django_application = get_asgi_application()

from channels.routing import ProtocolTypeRouter  # type: ignore[import-untyped]  # noqa: E402
from django.conf import settings  # noqa: E402

from dovetail_core.net import without_underscore_headers  # noqa: E402
from example_project import routing  # noqa: E402
from example_project.startup import prepare  # noqa: E402

application = without_underscore_headers(
    ProtocolTypeRouter(
        {
            "http": django_application,
            "websocket": routing.websockets() if settings.WEBSOCKETS_ENABLED else routing.refuse,
        }
    )
)

prepare()
