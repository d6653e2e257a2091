from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from dovetail_apikeys.principal import APIKeyCredential
from dovetail_apikeys.verification.authentication import InvalidKey, authenticate, principal_of

CHALLENGE = 'Bearer realm="api"'


class InvalidAPIKey(AuthenticationFailed):
    """401 with the same text for every invalid key: malformed, unknown, revoked, expired or not for this network.

    REST framework turns 401 into 403 if the first authentication class, such as ``SessionAuthentication``, has no
    challenge. The client would then conclude that a permission is missing, so the status is fixed.
    """

    default_detail = _("Invalid API key.")
    default_code = "invalid_api_key"
    auth_header = CHALLENGE

    @property
    def status_code(self) -> int:
        return status.HTTP_401_UNAUTHORIZED

    @status_code.setter
    def status_code(self, value: int) -> None:
        pass


class APIKeyAuthentication(BaseAuthentication):
    """Authenticate by ``Authorization: Bearer <key>`` or ``X-API-Key: <key>``, with one query.

    ``request.auth`` is an ``APIKeyCredential``, and ``request.user`` is the value that ``API_KEYS_PRINCIPAL`` returns
    for it. Other Bearer tokens are left to the next authentication classes.
    """

    def authenticate(self, request: Request) -> tuple[Any, APIKeyCredential] | None:
        try:
            credential = authenticate(request._request)
            return None if credential is None else (principal_of(credential), credential)
        except InvalidKey:
            raise InvalidAPIKey from None

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE
