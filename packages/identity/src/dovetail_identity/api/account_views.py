"""Registration and passwords. No answer reveals whether an address has an account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth import SESSION_KEY, update_session_auth_hash
from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

from dovetail_identity import services
from dovetail_identity.api.permissions import IsPerson
from dovetail_identity.api.serializers import (
    ChangePasswordSerializer,
    ConfirmResetSerializer,
    RegisterSerializer,
    RequestResetSerializer,
    UserSerializer,
    VerifyEmailSerializer,
    current_session,
)
from dovetail_identity.api.views import AccountEndpoint, SignInEndpoint
from dovetail_identity.conf import conf


class RegisterView(SignInEndpoint):
    """Ask for an account. A mail verifies the address, or tells its owner that it has an account already."""

    serializer_class = RegisterSerializer
    success = status.HTTP_202_ACCEPTED

    def answer(self, data: Mapping[str, Any], request: Request) -> Mapping[str, Any]:
        if not conf.REGISTRATION:
            raise PermissionDenied(_("Registration is closed."), code="registration_closed")
        services.register(**data)
        return {}


class VerifyEmailView(SignInEndpoint):
    """Verify the address by a mailed token. The account is created and signed in."""

    serializer_class = VerifyEmailSerializer

    def answer(self, data: Mapping[str, Any], request: Request) -> Mapping[str, Any]:
        user, tokens = services.verify_email(data["token"], request=request._request)
        return {**tokens, "user": UserSerializer(user, context=self.get_serializer_context()).data}


class ChangePasswordView(AccountEndpoint):
    """Change the own password. Every other session ends."""

    permission_classes = (IsPerson,)
    serializer_class = ChangePasswordSerializer
    success = status.HTTP_204_NO_CONTENT

    def answer(self, data: Mapping[str, Any], request: Request) -> None:
        user: Any = request.user
        services.change_password(user, **data, keep=current_session(request))
        session = getattr(request._request, "session", {})
        if SESSION_KEY in session:
            # Django would sign out this session too: it holds a hash of the password.
            update_session_auth_hash(request._request, user)


class RequestResetView(SignInEndpoint):
    """Ask for a mail with a link that sets a new password."""

    serializer_class = RequestResetSerializer
    success = status.HTTP_202_ACCEPTED

    def answer(self, data: Mapping[str, Any], request: Request) -> Mapping[str, Any]:
        services.request_password_reset(data["email"])
        return {}


class ConfirmResetView(SignInEndpoint):
    """Set a new password by a mailed token. Every session ends."""

    serializer_class = ConfirmResetSerializer
    success = status.HTTP_204_NO_CONTENT

    def answer(self, data: Mapping[str, Any], request: Request) -> None:
        services.reset_password(token=data["token"], password=data["password"])
