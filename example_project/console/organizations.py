"""The hooks by which notifications and API keys learn about organizations, implemented with tenancy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

from dovetail_tenancy import get_membership_model
from dovetail_tenancy.conf import OWNER
from dovetail_tenancy.organizations.resolution import OrganizationMismatch, requested_key, resolve_organization

MANAGERS = (OWNER, "admin")


def members_of(organization_key: Any) -> QuerySet[Any]:
    return _memberships().filter(organization=organization_key).values("user")


def managers_of(organization_key: Any) -> QuerySet[Any]:
    managers = _memberships().filter(organization=organization_key, role__in=MANAGERS)
    return get_user_model()._default_manager.filter(pk__in=managers.values("user"))


def owners_and(member_key: Any, organization_key: Any) -> QuerySet[Any]:
    """Return the owners of the organization and one member, if the person still is one."""
    rows = _memberships().filter(Q(role=OWNER) | Q(user=member_key), organization=organization_key)
    return get_user_model()._default_manager.filter(pk__in=rows.values("user"))


def organizations_of(user: Any) -> Iterable[Any]:
    return _memberships().filter(user=user.pk).values_list("organization", flat=True)


def is_member(organization_key: Any, user_key: Any) -> bool:
    return _memberships().filter(organization=organization_key, user=user_key).exists()


def requested_organization(request: Request) -> Any:
    """Return the organization that the request selects, or None for notifications of all the user's organizations."""
    if requested_key(request) is None and getattr(request.auth, "organization_id", None) is None:
        return None
    try:
        return resolve_organization(request)
    except OrganizationMismatch as error:
        # REST framework would convert it without its code.
        raise PermissionDenied(str(error), code="organization_mismatch") from error


def _memberships() -> QuerySet[Any]:
    return get_membership_model()._default_manager.all()
