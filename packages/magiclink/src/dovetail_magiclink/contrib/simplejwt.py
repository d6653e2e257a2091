"""Sign-in with a token pair of djangorestframework-simplejwt: ``pip install dovetail-magiclink[jwt]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest
from django.utils.module_loading import import_string
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import InvalidToken, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import RefreshToken

from dovetail_magiclink.issuers import IDENTITY


def issue_tokens(
    user: AbstractBaseUser, *, request: HttpRequest | None, amr: Sequence[str]
) -> Mapping[str, str] | None:
    """Return ``{"access", "refresh"}``, or None if ``USER_AUTHENTICATION_RULE`` of ``SIMPLE_JWT`` rejects the user.

    Both tokens have the claims ``amr`` (RFC 8176) and ``auth_time`` (OpenID Connect Core 2).
    """
    if not api_settings.USER_AUTHENTICATION_RULE(user):
        return None
    token = RefreshToken.for_user(user)
    token["amr"] = list(amr)
    token["auth_time"] = token["iat"]
    return {"access": str(token.access_token), "refresh": str(token)}


def issue_session(
    user: AbstractBaseUser, *, request: HttpRequest | None, amr: Sequence[str]
) -> Mapping[str, str] | None:
    """Return the pair of dovetail-identity, or None if ``USER_AUTHENTICATION_RULE`` of ``SIMPLE_JWT`` rejects the user.

    identity's function raises then, and the response would be a server error that tells rejected users from unknown
    ones.
    """
    try:
        pair: Mapping[str, str] = import_string(IDENTITY)(user, request=request, amr=amr)
    except TokenError:
        return None
    return pair


def problem() -> str | None:
    """Sign an access token with ``SIMPLE_JWT`` and verify it like the API. Return the reason for a failure, or None."""
    step = "signing"
    # PyJWT and cryptography raise unrelated classes for a key that does not suit the algorithm.
    try:
        token = str(RefreshToken().access_token)
        if api_settings.JWK_URL:
            return None  # the key for verification is on another server
        step = "verification"
        JWTAuthentication().get_validated_token(token.encode())
    except InvalidToken as error:
        messages: Any = error.detail
        return "; ".join(f"{item['token_class']}: {item['message']}" for item in messages["messages"])
    except Exception as error:  # noqa: BLE001
        return f"{step} with {api_settings.ALGORITHM} fails: {error}"
    return None
