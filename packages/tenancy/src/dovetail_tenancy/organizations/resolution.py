"""Which organization a request is for."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from dovetail_tenancy import get_membership_model
from dovetail_tenancy.isolation.scope import organization_key
from dovetail_tenancy.organizations.roles import is_person

HEADER = "X-Organization-ID"


class OrganizationRequired(Exception):
    """The request names no organization, and there is not exactly one that it could mean."""

    def __init__(self) -> None:
        super().__init__(f"Name the organization in the {HEADER} header: you are not a member of exactly one.")


class OrganizationMismatch(Exception):
    """The request's header names another organization than its credential."""

    def __init__(self) -> None:
        super().__init__(f"The {HEADER} header names another organization than the credential belongs to.")


class OrganizationNotFound(Exception):
    """The named organization does not exist, or the caller is not a member of it: nobody can tell which."""


def resolve_organization(request: Any) -> Any:
    """The key of the organization that ``request`` (Django's or DRF's) is for.

    From the credential, if it names one; else from ``X-Organization-ID``; else the person's only membership. A person
    is a member of it, also with a credential, and the membership is at ``request.membership`` afterwards. One query,
    none for a machine.
    Raises ``OrganizationRequired``, ``OrganizationMismatch`` or ``OrganizationNotFound``.
    """
    named = request.headers.get(HEADER)
    credential = getattr(getattr(request, "auth", None), "organization_id", None)
    if credential is not None:
        if named is not None and _key(named) != credential:
            raise OrganizationMismatch
        if not is_person(request.user):
            return credential
        # A key that acts for its creator must not outlive the creator's membership.
        named = credential
    membership = _membership(request.user, named)
    plain_request(request).membership = membership
    return membership.organization_id


def plain_request(request: Any) -> Any:
    """Django's request inside DRF's, or the request itself."""
    inner = getattr(request, "_request", request)
    return inner if isinstance(inner, HttpRequest) else request


def _membership(user: Any, named: Any) -> Any:
    memberships = get_membership_model()._default_manager.filter(user=user)
    if named is not None:
        membership = memberships.filter(organization=_key(named)).first()
        if membership is None:
            raise OrganizationNotFound
        return membership
    found = list(memberships.order_by("pk")[:2])
    if len(found) != 1:
        raise OrganizationRequired
    return found[0]


def _key(named: Any) -> Any:
    try:
        return organization_key(named)
    except ValueError as error:
        raise OrganizationNotFound from error
