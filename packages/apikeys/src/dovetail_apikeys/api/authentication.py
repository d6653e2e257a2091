from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from dovetail_apikeys.authenticate import InvalidKey, authenticate, principal_of
from dovetail_apikeys.credential import APIKeyCredential

CHALLENGE = 'Bearer realm="api"'


class InvalidAPIKey(AuthenticationFailed):
    """401 for every bad key, with one text: malformed, unknown, revoked, expired, from elsewhere.

    REST framework makes 403 of it where the first authentication class has no challenge, as ``SessionAuthentication``
    has none; a client with a key must learn that the key is bad, and not that it lacks a permission.
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
    """``Authorization: Bearer <key>`` or ``X-API-Key: <key>``, in one query.

    ``request.auth`` is an ``APIKeyCredential``, ``request.user`` what ``API_KEYS_PRINCIPAL`` makes of it. Other Bearer
    tokens are left to the classes behind it.
    """

    def authenticate(self, request: Request) -> tuple[Any, APIKeyCredential] | None:
        try:
            credential = authenticate(request._request)
            return None if credential is None else (principal_of(credential), credential)
        except InvalidKey:
            raise InvalidAPIKey from None

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE
