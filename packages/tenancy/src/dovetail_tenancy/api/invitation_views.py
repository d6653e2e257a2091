"""Views of invitations: of an organization for its members, and by token for the invited person."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework import status
from rest_framework.exceptions import NotAuthenticated, PermissionDenied
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from dovetail_core.rest.views import RefusalMixin
from dovetail_tenancy import services
from dovetail_tenancy.api.permissions import organization_credential
from dovetail_tenancy.api.serializers import (
    AcceptanceSerializer,
    InvitationSerializer,
    NothingSerializer,
    TokenSerializer,
)
from dovetail_tenancy.api.views import REFUSALS, OrganizationView, row_or_404
from dovetail_tenancy.conf import conf
from dovetail_tenancy.exceptions import (
    AccountExists,
    AlreadyInvited,
    AlreadyMember,
    InvalidInvitation,
    InvitationClosed,
    LimitReached,
    RoleNotAllowed,
    WrongAccount,
)
from dovetail_tenancy.models import Invitation
from dovetail_tenancy.organizations.project_models import is_person


class InvitationViewSet(OrganizationView):
    """The invitations of one organization, including answered and expired ones."""

    serializer_class = InvitationSerializer
    queryset = Invitation._default_manager.none()
    lookup_url_kwarg = "invitation_id"
    permissions = dict.fromkeys(("list", "create", "resend", "revoke"), "members.invite")
    contract = {
        "idempotency": "optional",
        "throttle": "invitation",
        "codes": (
            AlreadyInvited.code, AlreadyMember.code, InvitationClosed.code, LimitReached.code, RoleNotAllowed.code,
        ),
    }  # fmt: skip

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        return Invitation._default_manager.filter(organization=self.organization.pk)

    def get_serializer_class(self) -> Any:
        return NothingSerializer if self.action == "revoke" else InvitationSerializer

    def list(self, request: Request, organization_id: str) -> Response:
        return self.paginated(self.get_queryset())

    def create(self, request: Request, organization_id: str) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        invitation = services.invite(organization=self.organization, actor=request.user, **serializer.validated_data)
        return Response(self.get_serializer(invitation).data, status=status.HTTP_201_CREATED)

    def resend(self, request: Request, organization_id: str, invitation_id: str) -> Response:
        invitation = row_or_404(self.get_queryset(), invitation_id)
        sent = services.resend_invitation(invitation=invitation, actor=request.user)
        return Response(self.get_serializer(sent).data)

    def revoke(self, request: Request, organization_id: str, invitation_id: str) -> Response:
        services.revoke_invitation(invitation=row_or_404(self.get_queryset(), invitation_id), actor=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class InvitationTokenView(RefusalMixin, GenericAPIView[Any]):
    """A view for the holder of a token, which is in the body: servers log paths."""

    refusals = REFUSALS

    permission_classes = [AllowAny]

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, InvalidInvitation):
            # Independent of the project's error format: one body for unknown, expired, used and revoked tokens.
            return Response({"error": exc.code}, status=status.HTTP_400_BAD_REQUEST)
        if isinstance(exc, AccountExists):
            exc = NotAuthenticated(str(exc), code=exc.code)
        return super().handle_exception(exc)

    def token(self) -> str:
        serializer = self.get_serializer(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        return str(serializer.validated_data["token"])


class AcceptInvitationView(InvitationTokenView):
    """Answers 200 with the membership, and with ``access`` and ``refresh`` if it created the account."""

    serializer_class = AcceptanceSerializer
    contract = {"throttle": "invitation", "codes": (WrongAccount.code, AccountExists.code, LimitReached.code)}

    def post(self, request: Request) -> Response:
        tokens: dict[str, str] = {}
        if is_person(request.user):
            if organization_credential(request) is not None:
                raise PermissionDenied("Only a signed-in person accepts an invitation.")
            membership = services.accept_invitation(token=self.token(), user=request.user)
        elif request.user.is_authenticated:
            raise PermissionDenied("Only a signed-in person accepts an invitation.")
        elif conf.INVITATION_SIGNUP:
            membership, tokens = services.sign_up_by_invitation(token=self.token(), request=request._request)
        else:
            raise NotAuthenticated
        return Response({**self.get_serializer(membership).data, **tokens})


class DeclineInvitationView(InvitationTokenView):
    """Answers 204. Declining needs no account."""

    serializer_class = TokenSerializer
    contract = {"throttle": "invitation"}

    def post(self, request: Request) -> Response:
        services.decline_invitation(token=self.token())
        return Response(status=status.HTTP_204_NO_CONTENT)
