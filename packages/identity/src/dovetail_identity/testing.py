"""For the tests of projects that use this package."""

from __future__ import annotations

from typing import Any

from rest_framework.test import APIClient
from rest_framework_simplejwt.settings import api_settings

from dovetail_identity.services import Tokens, issue_tokens


def sign_in(client: APIClient, user: Any) -> Tokens:
    """Make every further request of ``client`` one of ``user``, by an access token. Returns the pair."""
    tokens = issue_tokens(user, request=None)
    client.credentials(**{api_settings.AUTH_HEADER_NAME: f"{api_settings.AUTH_HEADER_TYPES[0]} {tokens['access']}"})
    return tokens
