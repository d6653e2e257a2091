from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework_simplejwt import authentication
from rest_framework_simplejwt.exceptions import AuthenticationFailed, InvalidToken, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token
from rest_framework_simplejwt.utils import get_md5_hash_password

from dovetail_identity.sessions import account_of


class JWTAuthentication(authentication.JWTAuthentication):
    """``Authorization: Bearer <access>``, in one query, which asks for the user and whether the session goes on.

    401 for any token whose user is gone or inactive, or whose session is over: signing out holds from the next request
    on, in every process.
    """

    def get_user(self, validated_token: Token) -> Any:
        try:
            user = account_of(validated_token)
        except TokenError as error:
            raise InvalidToken(error.args[0]) from error
        # simplejwt's refusals, which clients may know by their codes.
        if user is None:
            raise AuthenticationFailed(str(_("User not found")), code="user_not_found")
        if api_settings.CHECK_USER_IS_ACTIVE and not user.is_active:
            raise AuthenticationFailed(str(_("User is inactive")), code="user_inactive")
        revocable = api_settings.CHECK_REVOKE_TOKEN
        claim = validated_token.get(api_settings.REVOKE_TOKEN_CLAIM)
        if revocable and claim != get_md5_hash_password(user.password):
            raise AuthenticationFailed(str(_("The user's password has been changed.")), code="password_changed")
        if not user.identity_session_lives:
            raise InvalidToken(str(_("The session is over.")))
        return user
