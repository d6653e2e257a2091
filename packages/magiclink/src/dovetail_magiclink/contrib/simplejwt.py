"""Sign-in with a token pair of djangorestframework-simplejwt: ``pip install dovetail-magiclink[jwt]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import RefreshToken


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
