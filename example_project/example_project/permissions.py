from __future__ import annotations

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from dovetail_tenancy.api.permissions import HasOrganizationPermission


class RoleForAPIKeys(BasePermission):
    """Which members may see and which may change the organization's keys: ``api_keys.read``, ``api_keys.write``.

    Behind ``InOrganization``. A key needs the scopes of the same names.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        action = "read" if request.method in SAFE_METHODS else "write"
        return HasOrganizationPermission(f"api_keys.{action}").has_permission(request, view)
