"""Views of organizations and their members. Their path names the organization, which replaces ``InOrganization``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, cast

from django.db.models import CharField, Model, OuterRef, QuerySet, Subquery, Value
from django.http import Http404
from rest_framework import status
from rest_framework.exceptions import MethodNotAllowed, PermissionDenied
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from dovetail_core.rest.views import RefusalMixin
from dovetail_tenancy import services
from dovetail_tenancy.api.permissions import HasOrganizationPermission, organization_credential
from dovetail_tenancy.api.serializers import (
    MemberSerializer,
    NothingSerializer,
    OrganizationSerializer,
    TransferSerializer,
)
from dovetail_tenancy.conf import conf
from dovetail_tenancy.exceptions import (
    AlreadyInvited,
    AlreadyMember,
    Gone,
    InvitationClosed,
    LastOwner,
    LimitReached,
    OwnerCannotSignIn,
    RoleNotAllowed,
    SlugTaken,
    TenancyError,
    Vetoed,
    WrongAccount,
)
from dovetail_tenancy.isolation.organization_model import get_organization_model, parse_key
from dovetail_tenancy.organizations.project_models import (
    concrete_field,
    get_membership_model,
    has_owner_field,
    is_person,
)
from dovetail_tenancy.organizations.role_table import OWNER

REFUSALS: Mapping[type[Exception], int] = {
    LastOwner: status.HTTP_409_CONFLICT,
    AlreadyMember: status.HTTP_409_CONFLICT,
    OwnerCannotSignIn: status.HTTP_409_CONFLICT,
    SlugTaken: status.HTTP_409_CONFLICT,
    AlreadyInvited: status.HTTP_409_CONFLICT,
    InvitationClosed: status.HTTP_409_CONFLICT,
    WrongAccount: status.HTTP_409_CONFLICT,
    LimitReached: status.HTTP_409_CONFLICT,
    RoleNotAllowed: status.HTTP_403_FORBIDDEN,
    Vetoed: status.HTTP_403_FORBIDDEN,
    Gone: status.HTTP_404_NOT_FOUND,
    TenancyError: status.HTTP_400_BAD_REQUEST,
}


def visible_organizations(request: Request) -> QuerySet[Any]:
    """Return the caller's organizations, annotated with the caller's ``membership_role``, in one query.

    A credential that names an organization limits them to that one. A machine has no role.
    """
    organizations: QuerySet[Any] = get_organization_model()._default_manager.all()
    credential = organization_credential(request)
    if credential is not None:
        organizations = organizations.filter(pk=credential.organization_id)
    role: Any = Value(None, output_field=CharField(null=True))
    if is_person(request.user):
        memberships = get_membership_model()._default_manager.filter(user=request.user.pk)
        organizations = organizations.filter(pk__in=memberships.values("organization"))
        role = Subquery(memberships.filter(organization=OuterRef("pk")).values("role")[:1])
    elif credential is None:
        organizations = organizations.none()
    return cast("QuerySet[Any]", organizations.annotate(membership_role=role))


def row_or_404(rows: QuerySet[Any], key: str) -> Any:
    """Return the row with this primary key. Raises ``Http404`` if there is none or ``key`` cannot be a key."""
    try:
        row = rows.filter(pk=parse_key(rows.model, key)).first()
    except ValueError:
        row = None
    if row is None:
        raise Http404
    return row


class OrganizationView(RefusalMixin, GenericViewSet[Any]):
    refusals = REFUSALS
    permissions: ClassVar[dict[str | None, str]]
    #: Actions that every member may perform, whatever their role permits.
    open_to_members: ClassVar[frozenset[str]] = frozenset()

    @property
    def pagination_class(self) -> Any:  # type: ignore[override]  # read on each access, like every setting
        return conf.PAGINATION_CLASS

    @cached_property
    def organization(self) -> Any:
        return row_or_404(visible_organizations(self.request), self.kwargs["organization_id"])

    def get_organization_role(self, request: Request) -> str | None:
        role: str | None = self.organization.membership_role
        return role

    def get_permissions(self) -> Sequence[BasePermission]:
        required: list[BasePermission] = [IsAuthenticated()]
        if "organization_id" in self.kwargs and self.action not in self.open_to_members:
            required.append(HasOrganizationPermission(self.permissions.get(self.action, "organization.view")))
        return required

    def paginated(self, rows: QuerySet[Any]) -> Response:
        rows = self.filter_queryset(rows)
        page = self.paginate_queryset(rows)
        if page is None:
            return Response(self.get_serializer(rows, many=True).data)
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class OrganizationViewSet(OrganizationView):
    """The caller's organizations."""

    serializer_class = OrganizationSerializer
    queryset = get_organization_model()._default_manager.none()
    lookup_url_kwarg = "organization_id"
    permissions = {
        "retrieve": "organization.view",
        "partial_update": "organization.update",
        "destroy": "organization.delete",
        "transfer_ownership": "organization.transfer",
    }
    open_to_members = frozenset({"leave"})
    contract = {"idempotency": "optional", "codes": (LastOwner.code, OwnerCannotSignIn.code, SlugTaken.code)}

    def get_queryset(self) -> QuerySet[Any]:
        return visible_organizations(self.request)

    def get_serializer_class(self) -> Any:
        return {"transfer_ownership": TransferSerializer, "leave": NothingSerializer}.get(
            self.action, self.serializer_class
        )

    def get_serializer_context(self) -> dict[str, Any]:
        context = dict(super().get_serializer_context())
        if self.action == "transfer_ownership" and not getattr(self, "swagger_fake_view", False):
            context["organization"] = self.organization
        return context

    def list(self, request: Request) -> Response:
        return self.paginated(self.get_queryset())

    def create(self, request: Request) -> Response:
        if not is_person(request.user) or organization_credential(request) is not None:
            raise PermissionDenied("Only a signed-in person creates organizations.")
        if concrete_field(get_organization_model(), "name") is None:
            raise MethodNotAllowed("POST", "Organizations are not created here: theirs is a model without a name.")
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        if missing := _required_fields(get_organization_model()) - serializer.validated_data.keys():
            raise MethodNotAllowed(
                "POST",
                f"Organizations are not created here: they need {', '.join(sorted(missing))} as well.",
            )
        organization = services.create_organization(owner=request.user, **serializer.validated_data)
        organization.membership_role = OWNER
        return Response(self.get_serializer(organization).data, status=status.HTTP_201_CREATED)

    def retrieve(self, request: Request, organization_id: str) -> Response:
        return Response(self.get_serializer(self.organization).data)

    def partial_update(self, request: Request, organization_id: str) -> Response:
        serializer = self.get_serializer(self.organization, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        # A machine has no role; its scope was checked.
        actor = request.user if is_person(request.user) else None
        services.update_organization(organization=self.organization, actor=actor, **serializer.validated_data)
        return Response(serializer.data)

    def destroy(self, request: Request, organization_id: str) -> Response:
        services.delete_organization(organization=self.organization, actor=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def transfer_ownership(self, request: Request, organization_id: str) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        heir = serializer.validated_data["member"].user
        services.transfer_ownership(organization=self.organization, to=heir, actor=request.user)
        # Queried again, because the contact and the caller's role have changed.
        organization = row_or_404(visible_organizations(request), organization_id)
        return Response(self.get_serializer(organization).data)

    def leave(self, request: Request, organization_id: str) -> Response:
        # No role's permission is needed to leave, but a person must do it, not a key that acts for the person.
        if not is_person(request.user) or organization_credential(request) is not None:
            raise PermissionDenied("Only a signed-in person leaves an organization.")
        services.leave_organization(organization=self.organization, user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class MemberViewSet(OrganizationView):
    """Members of one organization."""

    serializer_class = MemberSerializer
    queryset = get_membership_model()._default_manager.none()
    lookup_url_kwarg = "membership_id"
    permissions = {"list": "members.view", "partial_update": "members.change_role", "destroy": "members.remove"}
    contract = {"codes": (LastOwner.code, RoleNotAllowed.code)}

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        members = get_membership_model()._default_manager.filter(organization=self.organization.pk)
        return members.select_related("user")

    def list(self, request: Request, organization_id: str) -> Response:
        return self.paginated(self.get_queryset())

    def partial_update(self, request: Request, organization_id: str, membership_id: str) -> Response:
        membership = row_or_404(self.get_queryset(), membership_id)
        serializer = self.get_serializer(membership, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        if "role" in serializer.validated_data:
            role = serializer.validated_data["role"]
            membership.role = services.change_role(membership=membership, role=role, actor=request.user).role
        return Response(serializer.data)

    def destroy(self, request: Request, organization_id: str, membership_id: str) -> Response:
        membership = row_or_404(self.get_queryset(), membership_id)
        services.remove_member(membership=membership, actor=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _required_fields(model: type[Model]) -> set[str]:
    """Return the names of the fields that a new organization needs and `create_organization` does not set."""
    provided = {"slug", "owner"} if has_owner_field(model) else {"slug"}
    return {
        column.name
        for column in model._meta.concrete_fields
        if not (column.primary_key or column.null or column.has_default() or column.blank or column.name in provided)
        and not getattr(column, "auto_now", False)
        and not getattr(column, "auto_now_add", False)
        and not getattr(column, "generated", False)
    }
