from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import connections, transaction
from django.db.models import ProtectedError, RestrictedError
from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException, AuthenticationFailed, ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.authentication import AUTH_HEADER_TYPES
from rest_framework_simplejwt.exceptions import InvalidToken, TokenError

from dovetail_core.rest.views import payload
from dovetail_identity import services
from dovetail_identity.api.permissions import IsPerson
from dovetail_identity.api.serializers import (
    TokenLogoutSerializer,
    TokenObtainSerializer,
    TokenRefreshSerializer,
    TokenVerifySerializer,
    UserSerializer,
)
from dovetail_identity.conf import conf
from dovetail_identity.exceptions import InvalidOrExpired


class AccountEndpoint(GenericAPIView[Any]):
    """Validates a body, calls a service and answers with its result."""

    # No replay: the answers are secrets, and a counted attempt must stay counted.
    contract: ClassVar[Mapping[str, Any]] = {"throttle": "sign_in", "idempotency": "off"}
    success: ClassVar[int] = status.HTTP_200_OK

    def handle_exception(self, exc: Exception) -> Response:
        # The records of a refused attempt must stay. Under ATOMIC_REQUESTS, DRF's handler would roll them back.
        marks = {alias: transaction.get_rollback(alias) for alias in connections if connections[alias].in_atomic_block}
        response = super().handle_exception(exc)
        for alias, mark in marks.items():
            transaction.set_rollback(mark, alias)
        return response

    def post(self, request: Request, **_: Any) -> Response:
        serializer = self.get_serializer(data=payload(request))
        serializer.is_valid(raise_exception=True)
        try:
            answer = self.answer(serializer.validated_data, request)
        except TokenError as error:
            raise InvalidToken(error.args[0]) from error
        except InvalidOrExpired:
            # Not raised, so that the project's exception handler does not change this body.
            return Response({"error": "invalid_or_expired"}, status.HTTP_400_BAD_REQUEST)
        except DjangoValidationError as error:
            raise ValidationError(error.message_dict) from error
        return Response(answer, self.success, headers={"Cache-Control": "no-store"})  # RFC 6749 5.1

    def answer(self, data: Mapping[str, Any], request: Request) -> Mapping[str, Any] | None:
        raise NotImplementedError


class SignInEndpoint(AccountEndpoint):
    """Open to everybody, whatever the project's default authentication and permissions."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def get_authenticate_header(self, request: Request) -> str:
        # Without authentication classes DRF has none to show, and turns 401 into 403.
        return f'{AUTH_HEADER_TYPES[0]} realm="api"'


class TokenObtainView(SignInEndpoint):
    """Sign in with a password."""

    serializer_class = TokenObtainSerializer

    def answer(self, data: Mapping[str, Any], request: Request) -> Mapping[str, Any]:
        username = data[get_user_model().USERNAME_FIELD]
        tokens = services.sign_in(username=username, password=data["password"], request=request._request)
        if tokens is None:
            raise AuthenticationFailed(
                _("No active account found with the given credentials"), code="no_active_account"
            )
        return tokens


class TokenRefreshView(SignInEndpoint):
    """Exchange a refresh token for a new access token and the next refresh token."""

    serializer_class = TokenRefreshSerializer

    def answer(self, data: Mapping[str, Any], request: Request) -> Mapping[str, Any]:
        return services.refresh_tokens(data["refresh"], request=request._request)


class TokenVerifyView(SignInEndpoint):
    """Ask whether the API accepts a token."""

    serializer_class = TokenVerifySerializer

    def answer(self, data: Mapping[str, Any], request: Request) -> Mapping[str, Any]:
        services.verify_token(data["token"])
        return {}


class SignOutView(SignInEndpoint):
    """End the session of a refresh token, and its access tokens."""

    serializer_class = TokenLogoutSerializer
    success = status.HTTP_204_NO_CONTENT

    def answer(self, data: Mapping[str, Any], request: Request) -> None:
        services.sign_out(data["refresh"])


class DeletionRefused(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_detail = _("The account cannot be deleted: records that must be kept refer to it.")
    default_code = "deletion_refused"


class MeView(GenericAPIView[Any]):
    """The account of the person who is signed in."""

    permission_classes = (IsPerson,)
    serializer_class = UserSerializer
    contract: ClassVar[Mapping[str, Any]] = {"codes": ("deletion_refused",)}

    def get(self, request: Request, **_: Any) -> Response:
        return Response(self.get_serializer(request.user).data)

    def patch(self, request: Request, **_: Any) -> Response:
        serializer = self.get_serializer(request.user, data=payload(request), partial=True)
        serializer.is_valid(raise_exception=True)
        services.update_user(request.user, changes=serializer.validated_data)
        return Response(self.get_serializer(request.user).data)

    def delete(self, request: Request, **_: Any) -> Response:
        try:
            conf.DELETE_USER(request.user)
        except (ProtectedError, RestrictedError) as error:
            raise DeletionRefused from error
        except Exception as error:
            # Other packages' services and receivers refuse with exceptions that cannot be imported here.
            if isinstance(code := getattr(error, "code", None), str):
                raise DeletionRefused(str(error), code) from error
            raise
        return Response(status=status.HTTP_204_NO_CONTENT)
