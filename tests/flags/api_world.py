"""What the tests of the HTTP API share: flags, people and credentials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import Permission, User
from rest_framework.authentication import BaseAuthentication

from dovetail_flags import services


@dataclass
class Key:
    """The credential of a machine, as an API key is."""

    organization_id: Any
    scopes: tuple[str, ...] = ()


class Machine:
    is_authenticated = True

    def __init__(self, key: str) -> None:
        self.pk = key


class KeyAuthentication(BaseAuthentication):
    """``Authorization: Key ORGANIZATION SCOPE…``."""

    def authenticate(self, request):
        kind, _, rest = request.headers.get("Authorization", "").partition(" ")
        if kind != "Key":
            return None
        organization, *scopes = rest.split()
        return Machine(f"key-of-{organization}"), Key(organization, tuple(scopes))

    def authenticate_header(self, request):
        return "Key"


def flag(key="new-checkout", *, visible=True, enabled=True, **fields):
    return services.create_flag(key=key, enabled=enabled, client_visible=visible, **fields)


def only(organization, serve="on"):
    """Return the rules that serve a variant to one organization."""
    condition = {"attribute": "organization", "op": "in", "values": [organization]}
    return [{"id": "one", "when": [condition], "serve": serve}]


def user(name="ada", *permissions, **fields):
    person = User.objects.create_user(name, password="x", **fields)
    person.user_permissions.set(
        Permission.objects.filter(content_type__app_label="dovetail_flags", codename__in=permissions)
    )
    return person
