"""Organizations, memberships, and the isolation of one organization's rows from another's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dovetail_tenancy.isolation.scope import (
    TenantMismatch,
    TenantRequired,
    current_tenant_id,
    require_tenant,
    tenant,
    unscoped,
)

if TYPE_CHECKING:
    from django.db.models import Model

__all__ = [
    "TenantMismatch",
    "TenantRequired",
    "current_tenant_id",
    "get_membership_model",
    "get_organization_model",
    "has_permission",
    "require_tenant",
    "tenant",
    "unscoped",
]


def get_organization_model() -> type[Model]:
    """The model that ``TENANCY_ORGANIZATION_MODEL`` names. Models must be loaded."""
    return _model("TENANCY_ORGANIZATION_MODEL")


def get_membership_model() -> type[Model]:
    """The model that ``TENANCY_MEMBERSHIP_MODEL`` names. Models must be loaded."""
    return _model("TENANCY_MEMBERSHIP_MODEL")


def has_permission(user: Any, organization: Any, permission: str) -> bool:
    """Whether the user's role in the organization grants ``permission`` (such as ``"members.invite"``), asked anew."""
    from dovetail_tenancy.organizations import roles

    return roles.has_permission(user, organization, permission)


def _model(setting: str) -> type[Model]:
    from django.apps import apps

    from dovetail_core.fields import named_model

    return apps.get_model(named_model(setting))
