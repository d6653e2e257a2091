from __future__ import annotations

from typing import Any

from dovetail_adminapi.api.operations import ANY, permissions, registry
from dovetail_adminapi.conf import conf


def permission_matrix(urlconf: str | None = None) -> dict[str, dict[str, Any]]:
    """Return what each operation requires, and which roles of ``ADMINAPI_ROLES`` may call it, for a snapshot.

    The result is JSON, in a fixed order: ``{"POST /admin/v1/users/{pk}/deactivate": {"operation": "user.deactivate",
    "permission": "dovetail_adminapi.deactivate_user", "reauthenticate": True, "roles": ["ops"]}}``. A permission of
    ``*`` means any permission of the admin API, and None that nobody may call the operation.
    """
    rows = {}
    anything = permissions(urlconf)
    for item in registry(urlconf):
        operation = item.operation
        required: frozenset[str | None] = anything if operation.permission == ANY else frozenset({operation.permission})
        rows[f"{operation.method} {item.path}"] = {
            "operation": operation.name,
            "permission": operation.permission,
            "reauthenticate": operation.reauthenticate,
            "roles": sorted(role for role, names in conf.ROLES.items() if not required.isdisjoint(names)),
        }
    return dict(sorted(rows.items()))
