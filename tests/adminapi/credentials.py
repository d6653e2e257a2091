"""Credentials as other packages leave them on a request."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.request import Request


@dataclass
class Key:
    organization_id: Any
    scopes: tuple[str, ...] = ()
    prefix: str = "ab12"


class Machine:
    is_authenticated = True

    def __init__(self, pk: str) -> None:
        self.pk = pk

    def __str__(self) -> str:
        return self.pk


class KeyAuthentication(BaseAuthentication):
    """``Authorization: Key ORGANIZATION SCOPE…``; the organization ``-`` is none, for the key of a person."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        kind, _, rest = request.headers.get("Authorization", "").partition(" ")
        if kind != "Key":
            return None
        organization, *scopes = rest.split()
        if organization == "-":
            return User.objects.get(username="owner"), Key(None, tuple(scopes))
        return Machine(f"key-of-{organization}"), Key(organization, tuple(scopes))

    def authenticate_header(self, request: Request) -> str:
        return "Key"


class ClaimsAuthentication(BaseAuthentication):
    """``Authorization: Claims {"sub": 1, …}``: a class for tokens, which trusts the test."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        kind, _, rest = request.headers.get("Authorization", "").partition(" ")
        if kind != "Claims":
            return None
        claims = json.loads(rest)
        return User.objects.get(pk=claims["sub"]), claims

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class SessionWithoutCSRF(SessionAuthentication):
    """As projects often have it."""

    def enforce_csrf(self, request: Request) -> None:
        return None
