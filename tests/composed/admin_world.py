"""People and credentials that call the admin API of the composed service."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken

from dovetail_identity.services import issue_tokens
from tests.composed import factories

ADMIN = "/admin/v1"
ISSUER = "https://login.example.com"
UNLISTED = "https://other.example.com"
_SCHEME = b"OIDC "


class ProviderAuthentication(BaseAuthentication):
    """Stands for the library of an OpenID provider: a verified token, whose claims are ``request.auth``."""

    def authenticate(self, request: Request) -> tuple[Any, dict[str, Any]] | None:
        header = request.META.get("HTTP_AUTHORIZATION", "").encode()
        if not header.startswith(_SCHEME):
            return None
        claims = json.loads(base64.b64decode(header[len(_SCHEME) :]))
        user = get_user_model()._default_manager.filter(pk=claims["sub"]).first()
        if user is None:
            raise AuthenticationFailed
        return user, claims

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def staff(*permissions: str, **fields: Any) -> Any:
    """Return a member of staff with permissions such as ``dovetail_flags.view_flag``."""
    user = factories.user(is_staff=True, **fields)
    for name in permissions:
        label, codename = name.split(".", 1)
        user.user_permissions.add(Permission.objects.get(content_type__app_label=label, codename=codename))
    return user


def group(name: str, *permissions: str) -> Group:
    made = Group.objects.create(name=name)
    for permission in permissions:
        label, codename = permission.split(".", 1)
        made.permissions.add(Permission.objects.get(content_type__app_label=label, codename=codename))
    return made


def bearer(user: Any, **claims: Any) -> APIClient:
    """Return a client with a new token of a session of ``user``, with other claims."""
    token = AccessToken(issue_tokens(user, request=None)["access"])  # type: ignore[arg-type]  # an encoded token
    token.payload.update(claims)
    return APIClient(headers={"Authorization": f"Bearer {token}"}, raise_request_exception=False)


def provided(user: Any, issuer: str = ISSUER, **claims: Any) -> APIClient:
    """Return a client with a token of an OpenID provider."""
    now = int(time.time())
    claims = {"sub": str(user.pk), "iss": issuer, "iat": now, "auth_time": now, **claims}
    token = base64.b64encode(json.dumps(claims).encode()).decode()
    return APIClient(headers={"Authorization": f"OIDC {token}"}, raise_request_exception=False)
