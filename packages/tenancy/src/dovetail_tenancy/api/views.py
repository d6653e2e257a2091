"""Views of organizations, members and invitations. Their paths name the organization, so they need no header."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, ClassVar, cast

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import CharField, Model, OuterRef, QuerySet, Subquery, Value
from django.http import Http404
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.exceptions import MethodNotAllowed, NotAuthenticated, PermissionDenied, Throttled, ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import AllowAny, BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer, as_serializer_error
from rest_framework.viewsets import GenericViewSet, ModelViewSet

from dovetail_core import accounts
from dovetail_core.attempts import Budget, TooManyAttempts, reserve
from dovetail_core.net import client_network
from dovetail_core.rest.views import RefusalMixin, RowsMixin
from dovetail_tenancy import exceptions, services
from dovetail_tenancy.api.permissions import (
    HasOrganizationPermission,
    is_authenticated,
    is_signed_in_person,
    organization_credential,
)
from dovetail_tenancy.api.serializers import (
    AcceptanceSerializer,
    EmptySerializer,
    InvitationSerializer,
    MemberSerializer,
    OrganizationSerializer,
    TokenSerializer,
    TransferSerializer,
)
from dovetail_tenancy.base import AbstractOrganization
from dovetail_tenancy.conf import OWNER, conf, membership_lookups, membership_path
from dovetail_tenancy.isolation.scope import get_organization_model
from dovetail_tenancy.models import Invitation
from dovetail_tenancy.organizations.project_models import (
    concrete_field,
    find_row,
    get_membership_model,
    has_owner_field,
    is_person,
)
from dovetail_tenancy.services.members import role_below_owner

REFUSALS: Mapping[type[Exception], int] = {
    exceptions.Conflict: status.HTTP_409_CONFLICT,
    exceptions.RoleNotAllowed: status.HTTP_403_FORBIDDEN,
    exceptions.Vetoed: status.HTTP_403_FORBIDDEN,
    exceptions.Gone: status.HTTP_404_NOT_FOUND,
    exceptions.TenancyError: status.HTTP_400_BAD_REQUEST,
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
        memberships = get_membership_model()._default_manager.filter(**membership_lookups(user=request.user.pk))
        organizations = organizations.filter(pk__in=memberships.values(membership_path("organization")))
        own = memberships.filter(**membership_lookups(organization=OuterRef("pk")))
        role = Subquery(own.values(membership_path("role"))[:1])
    elif credential is None:
        organizations = organizations.none()
    return cast("QuerySet[Any]", organizations.annotate(membership_role=role))


def may_people_create_organizations() -> bool:
    """Return whether the API creates organizations, as ``TENANCY_ORGANIZATION_CREATION`` says.

    A project with its own model has its own way to create companies: payment, approval, required fields. A package that
    opens a second way would change what the project allows.
    """
    allowed = conf.ORGANIZATION_CREATION
    return issubclass(get_organization_model(), AbstractOrganization) if allowed is None else allowed


def row_or_404(rows: QuerySet[Any], key: str) -> Any:
    if (row := find_row(rows, key)) is None:
        raise Http404
    return row


class OrganizationView(RefusalMixin, RowsMixin, GenericViewSet[Any]):
    refusals = REFUSALS
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    #: The permission that each action requires, "organization.view" by default. None admits every member.
    permissions: ClassVar[dict[str | None, str | None]]

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
        permission = self.permissions.get(self.action, "organization.view")
        if permission is None or "organization_id" not in self.kwargs:
            return [IsAuthenticated()]
        return [IsAuthenticated(), HasOrganizationPermission(permission)]

    def get_rows(self) -> QuerySet[Any]:
        model: type[Model] = self.queryset.model
        lookups = {"organization": self.organization.pk}
        return model._default_manager.filter(**(membership_lookups(**lookups) if model is not Invitation else lookups))

    def get_object(self) -> Any:
        return row_or_404(self.get_queryset(), self.kwargs[self.lookup_url_kwarg or ""])


class OrganizationViewSet(OrganizationView, ModelViewSet[Any]):
    """The caller's organizations."""

    serializer_class = OrganizationSerializer
    queryset = get_organization_model()._default_manager.none()
    lookup_url_kwarg = "organization_id"
    permissions = {
        "partial_update": "organization.update",
        "destroy": "organization.delete",
        "transfer_ownership": "organization.transfer",
        # Every role may leave. The view requires a person, not a key that acts for the person.
        "leave": None,
    }
    contract = {
        "idempotency": "optional",
        "codes": ("last_owner", "organization_creation_disabled", "owner_inactive", "slug_taken"),
    }

    def get_rows(self) -> QuerySet[Any]:
        return visible_organizations(self.request)

    def get_object(self) -> Any:
        return self.organization

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        if not is_signed_in_person(request):
            raise PermissionDenied("Only a signed-in person can create organizations.")
        if not may_people_create_organizations():
            text = "Organizations cannot be created here. Set TENANCY_ORGANIZATION_CREATION = True to allow it."
            raise PermissionDenied(text, code="organization_creation_disabled")
        if concrete_field(get_organization_model(), "name") is None:
            raise MethodNotAllowed("POST", "Organizations cannot be created here: their model has no name.")
        return super().create(request, *args, **kwargs)

    def perform_create(self, serializer: BaseSerializer[Any]) -> None:
        if missing := _required_fields(get_organization_model()) - serializer.validated_data.keys():
            names = ", ".join(sorted(missing))
            raise MethodNotAllowed("POST", f"Organizations cannot be created here: they also need {names}.")
        organization = services.create_organization(owner=self.request.user, **serializer.validated_data)
        organization.membership_role = OWNER
        serializer.instance = organization

    def perform_update(self, serializer: BaseSerializer[Any]) -> None:
        # A machine has no role; its scope was checked.
        actor = self.request.user if is_person(self.request.user) else None
        services.update_organization(organization=self.organization, actor=actor, **serializer.validated_data)

    def perform_destroy(self, instance: Model) -> None:
        services.delete_organization(organization=instance, actor=self.request.user)

    @action(detail=True, methods=["post"], url_path="transfer-ownership", serializer_class=TransferSerializer)
    def transfer_ownership(self, request: Request, organization_id: str) -> Response:
        context = {**self.get_serializer_context(), "organization": self.organization}
        serializer = self.get_serializer(data=request.data, context=context)
        serializer.is_valid(raise_exception=True)
        new_owner = serializer.validated_data["member"].user
        membership = services.transfer_ownership(organization=self.organization, to=new_owner, actor=request.user)
        organization = getattr(membership, membership_path("organization"))
        # The caller was an owner, because no other role may make somebody an owner.
        organization.membership_role = OWNER if new_owner.pk == request.user.pk else role_below_owner() or OWNER
        return Response(self.get_serializer(organization).data)

    @action(detail=True, methods=["post"], serializer_class=EmptySerializer)
    def leave(self, request: Request, organization_id: str) -> Response:
        if not is_signed_in_person(request):
            raise PermissionDenied("Only a signed-in person can leave an organization.")
        services.leave_organization(organization=self.organization, user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class MemberViewSet(mixins.ListModelMixin, mixins.UpdateModelMixin, mixins.DestroyModelMixin, OrganizationView):
    """The members of one organization."""

    serializer_class = MemberSerializer
    queryset = get_membership_model()._default_manager.none()
    lookup_url_kwarg = "membership_id"
    permissions = {"list": "members.view", "partial_update": "members.change_role", "destroy": "members.remove"}
    contract = {"codes": ("last_owner", "role_not_allowed")}

    def get_rows(self) -> QuerySet[Any]:
        return super().get_rows().select_related(membership_path("user"))

    def perform_update(self, serializer: BaseSerializer[Any]) -> None:
        membership: Any = serializer.instance
        if role := serializer.validated_data.get(membership_path("role")):
            membership.role = services.change_role(membership=membership, role=role, actor=self.request.user).role

    def perform_destroy(self, instance: Any) -> None:
        services.remove_member(membership=instance, actor=self.request.user)


class InvitationViewSet(mixins.ListModelMixin, mixins.CreateModelMixin, OrganizationView):
    """The invitations of one organization, including answered and expired ones."""

    serializer_class = InvitationSerializer
    queryset = Invitation._default_manager.none()
    lookup_url_kwarg = "invitation_id"
    permissions = dict.fromkeys(("list", "create", "resend", "revoke"), "members.invite")
    contract = {
        "idempotency": "optional",
        "throttle": "invitation",
        "codes": ("already_invited", "already_member", "invitation_closed", "limit_reached", "role_not_allowed"),
    }

    def perform_create(self, serializer: BaseSerializer[Any]) -> None:
        fields = serializer.validated_data
        serializer.instance = services.invite(organization=self.organization, actor=self.request.user, **fields)

    @action(detail=True, methods=["post"])
    def resend(self, request: Request, organization_id: str, invitation_id: str) -> Response:
        invitation = services.resend_invitation(invitation=self.get_object(), actor=request.user)
        return Response(self.get_serializer(invitation).data)

    @action(detail=True, methods=["post"], serializer_class=EmptySerializer)
    def revoke(self, request: Request, organization_id: str, invitation_id: str) -> Response:
        services.revoke_invitation(invitation=self.get_object(), actor=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class InvitationTokenView(RefusalMixin, GenericAPIView[Any]):
    """A view for the holder of a token, which is in the body because servers log paths."""

    refusals = REFUSALS
    permission_classes = [AllowAny]

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, exceptions.InvalidInvitation):
            # Independent of the project's error format: one body for unknown, expired, used and revoked tokens.
            return Response({"error": exc.code}, status=status.HTTP_400_BAD_REQUEST)
        if isinstance(exc, exceptions.AccountExists):
            exc = NotAuthenticated(str(exc), code=exc.code)
        if isinstance(exc, DjangoValidationError):
            # Of the function that creates the account, or another function of the project.
            exc = ValidationError(as_serializer_error(exc))
        if isinstance(exc, TooManyAttempts):
            exc = Throttled(wait=math.ceil(exc.wait))
        return super().handle_exception(exc)

    def token(self) -> str:
        serializer = self.get_serializer(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        return str(serializer.validated_data["token"])

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the token before it is compared. Otherwise, parallel guesses would pass uncounted."""
        network = client_network(self.request._request)
        if network is None:
            # Through a Unix socket, without DOVETAIL_TRUSTED_PROXIES. In one budget of all clients, wrong tokens of one
            # would refuse the others. A token cannot be guessed.
            yield
            return
        reservation = reserve(Budget("tenancy.invitation", network, conf.INVITATION_FAILURES_PER_NETWORK))
        try:
            yield
        except exceptions.InvalidInvitation:
            raise
        except BaseException:
            reservation.refund()  # another reason, such as the wrong account or a failure of the database
            raise
        reservation.refund()


class AcceptInvitationView(InvitationTokenView):
    """Return the membership, and ``access`` and ``refresh`` if the account is new."""

    serializer_class = AcceptanceSerializer
    contract = {"throttle": "invitation", "codes": ("wrong_account", "account_exists", "limit_reached")}

    def post(self, request: Request) -> Response:
        tokens: dict[str, str] = {}
        if is_person(request.user) and is_signed_in_person(request):
            token = self.token()
            with self.counted():
                membership = services.accept_invitation(token=token, user=request.user)
        elif is_authenticated(request):
            raise PermissionDenied("Only a signed-in person can accept an invitation.")
        elif conf.INVITATION_SIGNUP:
            token = self.token()
            with self.counted():
                membership, tokens = services.sign_up_by_invitation(token=token, request=request._request)
        else:
            raise NotAuthenticated
        return Response({**self.get_serializer(membership).data, **tokens})


class DeclineInvitationView(InvitationTokenView):
    """Decline an invitation. No account is needed."""

    serializer_class = TokenSerializer
    contract = {"throttle": "invitation"}

    def post(self, request: Request) -> Response:
        token = self.token()
        with self.counted():
            services.decline_invitation(token=token)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _required_fields(model: type[Model]) -> set[str]:
    """Return the names of the fields that a new organization needs and `create_organization` does not set."""
    provided = {"slug", "owner"} if has_owner_field(model) else {"slug"}
    keys = {field.name for field in model._meta.concrete_fields if field.primary_key}
    return accounts.required_fields(model) - provided - keys
