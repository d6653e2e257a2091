from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from typing import Any, ClassVar

from django.utils.translation import gettext_lazy as _
from rest_framework.request import Request
from rest_framework_simplejwt import authentication
from rest_framework_simplejwt.exceptions import AuthenticationFailed, InvalidToken, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token
from rest_framework_simplejwt.utils import get_md5_hash_password

from dovetail_identity.sessions.tokens import SESSION_CLAIM, user_and_session_state


class JWTAuthentication(authentication.JWTAuthentication):
    """Authenticates ``Authorization: Bearer <access>`` with one query for the user and the state of the session.

    The response is 401 if the user is deleted or inactive, or if the session has ended, so sign-out takes effect
    with the next request in every process.

    Only tokens of sessions are ours. Other Bearer tokens, such as those of allauth, simplejwt or an OpenID provider,
    are left to the next authentication classes.
    """

    #: For the checks of the order: the class may stand before classes that accept other Bearer tokens.
    leaves_other_tokens: ClassVar[bool] = True

    def authenticate(self, request: Request) -> Any:
        header: Any = self.get_header(request)  # None without the header
        raw_token = None if header is None else self.get_raw_token(header)
        return super().authenticate(request) if raw_token is not None and _is_of_session(raw_token) else None

    def get_raw_token(self, header: bytes) -> bytes | None:
        # A scheme is case-insensitive (RFC 9110 11.1). simplejwt would ignore a token after "bearer".
        keyword, separator, rest = header.strip().partition(b" ")
        types = {name.lower(): name for name in authentication.AUTH_HEADER_TYPE_BYTES}
        return super().get_raw_token(types.get(keyword.lower(), keyword) + separator + rest)

    def get_user(self, validated_token: Token) -> Any:
        try:
            user = user_and_session_state(validated_token)
        except TokenError as error:
            raise InvalidToken(error.args[0]) from error
        # These are simplejwt's errors, because clients may depend on their codes.
        if user is None:
            raise AuthenticationFailed(str(_("User not found")), code="user_not_found")
        if api_settings.CHECK_USER_IS_ACTIVE and not user.is_active:
            raise AuthenticationFailed(str(_("User is inactive")), code="user_inactive")
        revocable = api_settings.CHECK_REVOKE_TOKEN
        claim = validated_token.get(api_settings.REVOKE_TOKEN_CLAIM)
        if revocable and claim != get_md5_hash_password(user.password):
            raise AuthenticationFailed(str(_("The user's password has been changed.")), code="password_changed")
        if not user.identity_session_is_live:
            raise InvalidToken(str(_("The session is over.")))
        return user


def _is_of_session(raw_token: bytes) -> bool:
    """Return whether the token claims to be of a session. Not verified: it only selects the authentication class."""
    try:
        # PyJWT decodes and validates all parts, which takes a quarter of the time of an authentication.
        _header, payload, _signature = raw_token.split(b".")
        claims = json.loads(urlsafe_b64decode(payload + b"=="))
    except (ValueError, RecursionError):
        return False
    if not isinstance(claims, dict):
        return False
    # OpenID providers have a "sid" too, but neither simplejwt's type nor our issuer.
    issuer, type_claim = api_settings.ISSUER, api_settings.TOKEN_TYPE_CLAIM
    expected = {SESSION_CLAIM, *([type_claim] if type_claim else [])}
    return expected <= claims.keys() and (issuer is None or claims.get("iss") == issuer)
