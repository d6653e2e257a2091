from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from django.conf import settings
from django.views.decorators.debug import sensitive_variables
from rest_framework import status
from rest_framework.exceptions import Throttled
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from dovetail_core.rest.views import payload
from dovetail_magiclink import services
from dovetail_magiclink.api.serializers import RequestSerializer, VerifySerializer
from dovetail_magiclink.conf import conf

# Required for tokens by RFC 6749 5.1. Responses about an address must not be cached either.
_HEADERS = {"Cache-Control": "no-store"}


class MagicEndpoint(GenericAPIView[Any]):
    """Public, regardless of the project's default authentication and permissions."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    contract: ClassVar[Mapping[str, Any]] = {"throttle": "magic"}

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        view = super().as_view(**initkwargs)
        # Attempts are committed before they are compared, and the sign-in has its own transaction. In a transaction per
        # request, parallel guesses would wait for each other, and an error would roll the counts back.
        view._non_atomic_requests = set(settings.DATABASES)  # type: ignore[attr-defined]  # as Django's decorator does
        return view

    def valid(self, request: Request) -> Any:
        serializer = self.get_serializer(data=payload(request))
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data


class RequestView(MagicEndpoint):
    """Request a mail with a code and a link. The response does not reveal whether the address has an account."""

    serializer_class = RequestSerializer

    def post(self, request: Request, **_: Any) -> Response:
        email = self.valid(request)["email"]
        try:
            requested = services.request_magic_link(email=email, request=request._request)
        except services.TooManyRequests as error:
            raise Throttled(wait=math.ceil(error.wait)) from error
        answer = {"request_id": str(requested.request_id)}
        if requested.debug_token is not None:
            answer["debug_token"] = requested.debug_token
        return Response(answer, status.HTTP_202_ACCEPTED, headers=_HEADERS)


class VerifyView(MagicEndpoint):
    """Sign in by the code or the link of a mail. Only by POST, because mail scanners follow links with GET."""

    serializer_class = VerifySerializer

    @sensitive_variables()
    def post(self, request: Request, **_: Any) -> Response:
        data = self.valid(request)
        signed_in = services.sign_in(
            token=data.get("token", ""),
            key=data.get("k"),
            request_id=data.get("request_id"),
            email=data.get("email"),
            request=request._request,
        )
        if signed_in is None:
            # Returned, not raised: the project's exception handler must not change this body.
            return Response({"error": "invalid_or_expired"}, status.HTTP_400_BAD_REQUEST, headers=_HEADERS)
        if not signed_in.complete:
            # No details of the account: the reader of the mailbox has not passed the second factor.
            return Response(signed_in.answer, headers=_HEADERS)
        user = conf.USER_SERIALIZER(signed_in.user, context=self.get_serializer_context()).data
        return Response({**signed_in.answer, "user": user}, headers=_HEADERS)
