"""Permission classes of Django REST framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from django.http import Http404
from rest_framework import status
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission, OperationHolderMixin
from rest_framework.request import Request

from dovetail_core.context import Credential
from dovetail_tenancy.isolation.scope import fill_slot, require_tenant
from dovetail_tenancy.organizations.project_models import is_person
from dovetail_tenancy.organizations.resolution import OrganizationMismatch, OrganizationRequired, resolve_organization
from dovetail_tenancy.organizations.roles import role_of, role_permits

if TYPE_CHECKING:
    # Not at run time: rest_framework.views imports the default classes, and so this module.
    from rest_framework.views import APIView


class InOrganization(BasePermission):
    """Runs the request for one organization that the caller belongs to, so that only its rows are visible.

    The organization comes from the credential, else from ``X-Organization-ID``, else from the caller's only membership.
    400 ``organization_required`` if the caller has no membership or several; 404 if the caller is not a member of the
    named organization; 403 ``organization_mismatch`` if the header contradicts the credential; 401 if the caller is not
    authenticated.

    Sets ``request.membership`` to the caller's membership, except for a machine's credential. One query.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not is_authenticated(request):
            return False
        try:
            organization_id = resolve_organization(request)
        except OrganizationRequired as error:
            # Imported late, like rest_framework.views above.
            from dovetail_core.rest.views import Refusal

            raise Refusal(error, status.HTTP_400_BAD_REQUEST) from error
        except OrganizationMismatch as error:
            raise PermissionDenied(str(error), code=error.code) from error
        fill_slot(organization_id)
        return True


class HasOrganizationPermission(OperationHolderMixin, BasePermission):
    """Requires ``permission`` in the organization that the request is for.

    ``permission_classes = [InOrganization, HasOrganizationPermission("invoices.approve")]``. A person needs a role
    that grants the permission. A credential with scopes, such as an API key, needs the scope of the same name
    (``invoices:approve`` or ``invoices:*``); a person who uses such a credential needs both. Otherwise 403
    ``permission_denied``, and 404 for a caller outside the organization. No query after ``InOrganization``.

    A view whose path names the organization omits ``InOrganization`` and implements
    ``get_organization_role(request)``. It returns the caller's role, or None for a machine, and raises ``Http404`` for
    an outsider.
    """

    checks_scopes: ClassVar[bool] = True

    def __init__(self, permission: str) -> None:
        self.permission = permission

    def __call__(self) -> Self:
        # DRF calls the items of permission_classes.
        return self

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not is_authenticated(request):
            return False
        role = _role(request, view)
        # The scopes of a user's API key limit it too, although it names no organization.
        if isinstance(request.auth, Credential) and not _in_scope(request.auth, self.permission):
            return False
        machine = organization_credential(request) is not None and not is_person(request.user)
        return machine or role_permits(role, self.permission)


def is_authenticated(request: Request) -> bool:
    # None with UNAUTHENTICATED_USER = None, which projects without django.contrib.auth need.
    user: Any = request.user
    return user is not None and bool(user.is_authenticated)


def organization_credential(request: Request) -> Credential | None:
    """Return the request's credential if it names an organization, as an API key does, else None."""
    credential = request.auth
    return credential if isinstance(credential, Credential) and credential.organization_id is not None else None


def is_signed_in_person(request: Request) -> bool:
    return is_person(request.user) and not isinstance(request.auth, Credential)


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
    # Every credential may view the organization that it belongs to.
    if permission == "organization.view":
        return True
    resource, action = permission.split(".")
    return not {f"{resource}:{action}", f"{resource}:*"}.isdisjoint(credential.scopes or ())
