"""Organizations, memberships, and the isolation of one organization's rows from another's."""

from __future__ import annotations

from dovetail_tenancy.isolation.scope import TenantMismatch as TenantMismatch
from dovetail_tenancy.isolation.scope import TenantRequired as TenantRequired
from dovetail_tenancy.isolation.scope import current_tenant_id as current_tenant_id
from dovetail_tenancy.isolation.scope import get_organization_model as get_organization_model
from dovetail_tenancy.isolation.scope import require_tenant as require_tenant
from dovetail_tenancy.isolation.scope import tenant as tenant
from dovetail_tenancy.isolation.scope import unscoped as unscoped
from dovetail_tenancy.organizations.project_models import get_membership_model as get_membership_model
from dovetail_tenancy.organizations.roles import has_permission as has_permission
