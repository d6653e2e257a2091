from __future__ import annotations

from typing import Any, ClassVar

from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from dovetail_apikeys.api.acceptance import accepts_keys
from dovetail_apikeys.conf import conf
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
    for it. Other Bearer tokens are left to the next authentication classes. Views that do not accept keys
    (``API_KEYS_ACCEPT``) see no key, and an anonymous request gets the response that the other classes determine.
    """

    #: For the checks of the order: the class may stand before classes that accept other Bearer tokens.
    leaves_other_tokens: ClassVar[bool] = True

    def authenticate(self, request: Request) -> tuple[Any, APIKeyCredential] | None:
        if not accepts_keys(request):
            return None
        try:
            credential = authenticate(request._request)
            return None if credential is None else (principal_of(credential), credential)
        except InvalidKey:
            raise InvalidAPIKey from None

    def authenticate_header(self, request: Request) -> str | None:
        # REST framework asks the first class only. A challenge would turn the anonymous 403 of SessionAuthentication
        # into 401 on views that do not accept keys.
        others = [item for item in getattr(request, "authenticators", ()) if not isinstance(item, APIKeyAuthentication)]
        return CHALLENGE if not others or accepts_keys(request) else others[0].authenticate_header(request)

    @classmethod
    def get_vary_headers(cls) -> list[str]:
        """Return the headers that determine the caller, for ``Vary``."""
        return ["Authorization", *([conf.HEADER] if conf.HEADER else [])]
