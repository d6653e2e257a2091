"""An anonymous request, which has no user, is refused."""

from __future__ import annotations

from django.test import Client

for path in ("notifications/", "notification-preferences/", "push-devices/"):
    assert Client(SERVER_NAME="localhost").get(f"/api/v1/{path}").status_code == 401
