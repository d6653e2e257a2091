"""What the tests of the guard share: people with permissions, and tokens."""

from __future__ import annotations

import time
from typing import Any

from django.contrib.auth.models import Permission, User
from rest_framework.test import APIClient


def person(name: str = "ada", *permissions: str, **fields: Any) -> User:
    """Create a user with permissions such as ``auth.view_group``."""
    user = User.objects.create_user(name, password="x", **fields)
    for permission in permissions:
        app_label, codename = permission.split(".", 1)
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app_label, codename=codename))
    return user


def client(user: User | None = None, **options: Any) -> APIClient:
    """Return a client with a session of ``user``."""
    api = APIClient(**options)
    if user is not None:
        api.force_login(user)
    return api


def bearer(user: User, **claims: Any) -> APIClient:
    """Return a client whose requests have a token with these claims, as a class for JWTs leaves them."""
    api = APIClient()
    now = int(time.time())
    api.force_authenticate(user, token={"iss": "https://idp.example.com", "iat": now, "auth_time": now, **claims})
    return api


ADMIN = "/admin/v1/"
