"""Organizations, memberships, and the isolation of one organization's rows from another's."""

from __future__ import annotations

from dovetail_tenancy.isolation.organization_model import get_organization_model
from dovetail_tenancy.isolation.scope import (
    TenantMismatch,
    TenantRequired,
    current_tenant_id,
    require_tenant,
    tenant,
    unscoped,
)
from dovetail_tenancy.organizations.project_models import get_membership_model
from dovetail_tenancy.organizations.roles import has_permission

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
