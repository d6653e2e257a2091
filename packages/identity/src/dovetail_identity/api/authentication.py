from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework_simplejwt import authentication
from rest_framework_simplejwt.exceptions import AuthenticationFailed, InvalidToken, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token
from rest_framework_simplejwt.utils import get_md5_hash_password

from dovetail_identity.sessions.tokens import user_and_session_state


class JWTAuthentication(authentication.JWTAuthentication):
    """Authenticates ``Authorization: Bearer <access>`` with one query for the user and the state of the session.

    The response is 401 if the user is deleted or inactive, or if the session has ended, so sign-out takes effect
    with the next request in every process.
    """

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
