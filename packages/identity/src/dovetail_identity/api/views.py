"""Sign-in, registration and passwords. No response reveals whether an address has an account."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from django.contrib.auth import SESSION_KEY, get_user_model, update_session_auth_hash
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import connections, transaction
from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied, Throttled, ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.authentication import AUTH_HEADER_TYPES
from rest_framework_simplejwt.exceptions import InvalidToken, TokenError

from dovetail_core.attempts import TooManyAttempts
from dovetail_core.rest.views import payload
from dovetail_core.transactions import Vanished
from dovetail_identity import services
from dovetail_identity.api import serializers
from dovetail_identity.api.permissions import IsPerson
from dovetail_identity.conf import conf


class AccountEndpoint(GenericAPIView[Any]):
    """Validates the body, calls a service and responds with its result."""

    # Not idempotent: a response contains secrets, and every attempt must be counted.
    contract: ClassVar[Mapping[str, Any]] = {"throttle": "sign_in", "idempotency": "off"}
    success: ClassVar[int] = status.HTTP_200_OK

    def handle_exception(self, exc: Exception) -> Response:
        # Under ATOMIC_REQUESTS, REST framework would roll back the records of a rejected attempt.
        flags = {alias: transaction.get_rollback(alias) for alias in connections if connections[alias].in_atomic_block}
        response = super().handle_exception(exc)
        for alias, rollback in flags.items():
            transaction.set_rollback(rollback, alias)
        return response

    def post(self, request: Request, **_: Any) -> Response:
        serializer = self.get_serializer(data=payload(request))
        serializer.is_valid(raise_exception=True)
        try:
            data = self.answer(serializer.validated_data, request)
        except TokenError as error:
            raise InvalidToken(error.args[0]) from error
        except services.InvalidOrExpired:
            # Not raised, because the exception handler of the project would change this body.
            return Response({"error": "invalid_or_expired"}, status.HTTP_400_BAD_REQUEST)
        except Vanished as error:
            # The account was deleted while it signed in or changed its password.
            raise AuthenticationFailed(code="no_active_account") from error
        except DjangoValidationError as error:
            raise ValidationError(error.message_dict) from error
        except TooManyAttempts as error:
            raise Throttled(wait=math.ceil(error.wait)) from error
        return Response(data, self.success, headers={"Cache-Control": "no-store"})  # RFC 6749 5.1

    def answer(self, data: Mapping[str, Any], request: Request) -> Mapping[str, Any] | None:
        """Call the service with the validated data, and return the body of the response."""
        raise NotImplementedError


class SignInEndpoint(AccountEndpoint):
    """An endpoint without authentication, whatever the defaults of the project."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def get_authenticate_header(self, request: Request) -> str:
        # Without authentication classes, REST framework has no header to send and changes 401 to 403.
        return f'{AUTH_HEADER_TYPES[0]} realm="api"'


class TokenObtainView(SignInEndpoint):
    """Sign in with a password."""

    serializer_class = serializers.TokenObtainSerializer

    def answer(self, data: Mapping[str, Any], request: Request) -> Mapping[str, Any]:
        username = data[get_user_model().USERNAME_FIELD]
        tokens = services.sign_in(username=username, password=data["password"], request=request._request)
        if tokens is None:
            message = _("No active account found with the given credentials")
            raise AuthenticationFailed(message, code="no_active_account")
        return tokens


class TokenRefreshView(SignInEndpoint):
    """Exchange a refresh token for a new access token and the next refresh token."""

    serializer_class = serializers.TokenRefreshSerializer

    def answer(self, data: Mapping[str, Any], request: Request) -> Mapping[str, Any]:
        return services.refresh_tokens(data["refresh"], request=request._request)


class TokenVerifyView(SignInEndpoint):
    """Check whether the API accepts a token."""

    serializer_class = serializers.TokenVerifySerializer

    def answer(self, data: Mapping[str, Any], request: Request) -> Mapping[str, Any]:
        services.verify_token(data["token"])
        return {}


class SignOutView(SignInEndpoint):
    """End the session of a refresh token, and its access tokens."""

    serializer_class = serializers.TokenLogoutSerializer
    success = status.HTTP_204_NO_CONTENT

    def answer(self, data: Mapping[str, Any], request: Request) -> None:
        services.sign_out(data["refresh"])


class RegisterView(SignInEndpoint):
    """Request an account. A mail verifies the address, or informs its owner that an account already exists."""

    serializer_class = serializers.RegisterSerializer
    success = status.HTTP_202_ACCEPTED

    def answer(self, data: Mapping[str, Any], request: Request) -> Mapping[str, Any]:
        if not conf.REGISTRATION:
            raise PermissionDenied(_("Registration is closed."), code="registration_closed")
        services.register(**data)
        return {}


class VerifyEmailView(SignInEndpoint):
    """Verify an address with the token from a mail. Creates the account and signs it in."""

    serializer_class = serializers.VerifyEmailSerializer

    def answer(self, data: Mapping[str, Any], request: Request) -> Mapping[str, Any]:
        user, tokens = services.verify_email(data["token"], request=request._request)
        return {**tokens, "user": serializers.UserSerializer(user, context=self.get_serializer_context()).data}


class ChangePasswordView(AccountEndpoint):
    """Change the password of the authenticated user. Ends all other sessions."""

    permission_classes = (IsPerson,)
    serializer_class = serializers.ChangePasswordSerializer
    success = status.HTTP_204_NO_CONTENT

    def answer(self, data: Mapping[str, Any], request: Request) -> None:
        user: Any = request.user
        keep = serializers.current_session(request)
        services.change_password(user, **data, keep=keep, request=request._request)
        if SESSION_KEY in getattr(request._request, "session", {}):
            # Django's own session contains a hash of the old password, and would end as well.
            update_session_auth_hash(request._request, user)


class RequestResetView(SignInEndpoint):
    """Request a mail with a link to set a new password."""

    serializer_class = serializers.RequestResetSerializer
    success = status.HTTP_202_ACCEPTED

    def answer(self, data: Mapping[str, Any], request: Request) -> Mapping[str, Any]:
        services.request_password_reset(data["email"])
        return {}


class ConfirmResetView(SignInEndpoint):
    """Set a new password with the token from a mail. Ends all sessions."""

    serializer_class = serializers.ConfirmResetSerializer
    success = status.HTTP_204_NO_CONTENT

    def answer(self, data: Mapping[str, Any], request: Request) -> None:
        services.reset_password(token=data["token"], password=data["password"], request=request._request)
