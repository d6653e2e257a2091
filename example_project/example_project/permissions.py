from __future__ import annotations

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from dovetail_tenancy.api.permissions import HasOrganizationPermission
from dovetail_tenancy.conf import OWNER
from example_project.administration import requested_organization


class ReadsAuditLog(BasePermission):
    """Require the permission ``audit.read``, and of API keys the scope of the same name.

    Put it after ``InOrganization``.
    """

    # dovetail_doctor reports views that accept every API key.
    checks_scopes = True

    def has_permission(self, request: Request, view: APIView) -> bool:
        return HasOrganizationPermission("audit.read").has_permission(request, view)


class RoleForAPIKeys(BasePermission):
    """Require the permission ``api_keys.read`` to view and ``api_keys.write`` to change the organization's keys.

    Put it after ``InOrganization``. API keys need the scopes of the same names.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        action = "read" if request.method in SAFE_METHODS else "write"
        return HasOrganizationPermission(f"api_keys.{action}").has_permission(request, view)


class AnswersSupport(BasePermission):
    """Require an owner of the requested organization, who answers for its members.

    A person without an organization answers for their own account.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        if requested_organization(request) is None:
            return True
        membership = getattr(request, "membership", None)
        return membership is not None and membership.role == OWNER
