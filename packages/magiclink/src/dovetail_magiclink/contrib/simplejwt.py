"""A token pair of djangorestframework-simplejwt: ``pip install dovetail-magiclink[jwt]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.http import HttpRequest
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import RefreshToken


def issue_tokens(user: Any, *, request: HttpRequest | None, amr: Sequence[str]) -> Mapping[str, str] | None:
    """``{"access", "refresh"}`` by ``SIMPLE_JWT``. None for users whom its ``USER_AUTHENTICATION_RULE`` refuses.

    ``amr`` (RFC 8176) and ``auth_time`` (OpenID Connect Core 2) are claims of both.
    """
    if not api_settings.USER_AUTHENTICATION_RULE(user):
        return None
    token = RefreshToken.for_user(user)
    token["amr"] = list(amr)
    token["auth_time"] = token["iat"]
    return {"access": str(token.access_token), "refresh": str(token)}
