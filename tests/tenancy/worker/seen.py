from __future__ import annotations

from dovetail_tenancy import TenantRequired, require_tenant
from dovetail_tenancy.isolation.scope import current_scope


def what_is_seen() -> str:
    scope = current_scope()
    if scope is not None and scope.everything:
        return "all"
    try:
        return str(require_tenant())
    except TenantRequired:
        return "TenantRequired"
