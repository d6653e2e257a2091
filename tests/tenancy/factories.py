"""What tests of organizations and members begin with, made by the services themselves."""

from __future__ import annotations

from itertools import count
from typing import Any

from django.contrib.auth import get_user_model
from django.test import TestCase, override_settings
from rest_framework.test import APIClient

from dovetail_tenancy import services

_number = count(1)


def make_user(**fields: Any) -> Any:
    number = next(_number)
    defaults = {"username": f"person{number}", "email": f"person{number}@example.com", "password": "!"}
    return get_user_model()._default_manager.create(**{**defaults, **fields})


def make_organization(name: str = "Acme", *, owner: Any = None, **members: Any) -> Any:
    """An organization with an owner and, by role, further members: ``make_organization(admin=ada, member=bo)``."""
    organization = services.create_organization(name=name, owner=owner or make_user())
    for role, user in members.items():
        services.add_member(organization=organization, user=user, role=role)
    return organization


def membership_of(user: Any, organization: Any) -> Any:
    from dovetail_tenancy import get_membership_model

    return get_membership_model()._default_manager.get(user=user, organization=organization)


def client_of(user: Any, *, auth: Any = None) -> APIClient:
    client = APIClient(raise_request_exception=True)
    client.force_authenticate(user, auth)
    return client


def invite(organization: Any, email: str, role: str = "member", **more: Any) -> tuple[Any, str]:
    """An invitation and the token that its e-mail carries; nothing is sent within a test's transaction."""
    links: list[str] = []

    def send(invitation: Any, *, link: str, language: str | None) -> None:
        links.append(link)

    with override_settings(TENANCY_INVITATION_SENDER=send), TestCase.captureOnCommitCallbacks(execute=True):
        invitation = services.invite(organization=organization, email=email, role=role, **more)
    return invitation, links[0].partition("#token=")[2]
