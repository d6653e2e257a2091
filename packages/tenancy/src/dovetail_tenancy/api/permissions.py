from __future__ import annotations

from typing import Any, Self

from django.http import Http404
from rest_framework import status
from rest_framework.exceptions import APIException, PermissionDenied
from rest_framework.permissions import BasePermission, OperationHolderMixin
from rest_framework.request import Request
from rest_framework.views import APIView

from dovetail_core.context import Credential
from dovetail_tenancy.isolation.scope import fill_slot, require_tenant
from dovetail_tenancy.organizations import resolution
from dovetail_tenancy.organizations.project_models import is_person
from dovetail_tenancy.organizations.roles import role_of, role_permits


class OrganizationRequired(APIException):
    status_code = status.HTTP_400_BAD_REQUEST
    default_code = "organization_required"


class InOrganization(BasePermission):
    """The request runs for one organization that the caller belongs to, and sees its rows only.

    The organization comes from the credential, else from ``X-Organization-ID``, else it is the caller's only one.
    400 ``organization_required`` where that leaves none or several; 404 for one the caller is not a member of;
    403 ``organization_mismatch`` where the header contradicts the credential; 401 for nobody.

    Afterwards ``request.membership`` is the caller's membership (absent for a machine's credential). One query.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not request.user.is_authenticated:
            return False
        try:
            organization_id = resolution.resolve_organization(request)
        except resolution.OrganizationRequired as error:
            raise OrganizationRequired(str(error)) from error
        except resolution.OrganizationMismatch as error:
            raise PermissionDenied(str(error), code="organization_mismatch") from error
        except resolution.OrganizationNotFound as error:
            raise Http404 from error
        fill_slot(organization_id)
        return True


class HasOrganizationPermission(OperationHolderMixin, BasePermission):
    """The caller may do ``permission`` in the organization that the request is for.

    ``permission_classes = [InOrganization, HasOrganizationPermission("invoices.approve")]``. A person needs a role
    that grants it. A credential that names an organization needs the scope of the same name (``invoices:approve`` or
    ``invoices:*``); a person who uses such a credential needs both. 403 ``permission_denied`` otherwise, and 404 for
    who is not in the organization at all. No query after ``InOrganization``.

    A view whose path names the organization leaves ``InOrganization`` out and answers
    ``get_organization_role(request)``: the caller's role, None for a machine; it raises ``Http404`` for an outsider.
    """

    def __init__(self, permission: str) -> None:
        self.permission = permission

    def __call__(self) -> Self:
        # DRF instantiates what permission_classes lists.
        return self

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not request.user.is_authenticated:
            return False
        role = _role(request, view)
        credential = organization_credential(request)
        if credential is not None and not _in_scope(credential, self.permission):
            return False
        return (credential is not None and not is_person(request.user)) or role_permits(role, self.permission)


def organization_credential(request: Request) -> Credential | None:
    """The request's credential if it names an organization itself, as an API key does."""
    credential = request.auth
    return credential if isinstance(credential, Credential) and credential.organization_id is not None else None


def _role(request: Request, view: APIView) -> str | None:
    if hasattr(view, "get_organization_role"):
        role: str | None = view.get_organization_role(request)
        return role
    membership: Any = getattr(request, "membership", None)
    organization_id = require_tenant()
    if membership is not None and membership.organization_id == organization_id:
        return str(membership.role)
    role = role_of(request.user, organization_id)
    if role is None and organization_credential(request) is None:
        raise Http404
    return role


def _in_scope(credential: Credential, permission: str) -> bool:
    # Which organization it belongs to is no secret to a credential that names it.
    if permission == "organization.view":
        return True
    resource, action = permission.split(".")
    return not {f"{resource}:{action}", f"{resource}:*"}.isdisjoint(credential.scopes or ())
