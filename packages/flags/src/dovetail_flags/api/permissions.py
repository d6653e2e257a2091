from __future__ import annotations

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request


class ManagesFlags(BasePermission):
    """Require the Django permission that the attribute ``admin`` of the view names for the action.

    An action without a permission is refused, so that a new action is not open until somebody notices.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        permission = view.admin["permissions"].get(view.action)
        # Principals of machines, such as API keys, have no permissions of Django.
        has_perm = getattr(request.user, "has_perm", None)
        return permission is not None and has_perm is not None and bool(has_perm(permission))
