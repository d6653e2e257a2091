"""API keys that belong to an organization."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dovetail_apikeys.restrictions.scopes import register_scopes
from dovetail_core.models import get_setting_model

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser
    from django.http import HttpRequest
    from rest_framework.request import Request

    from dovetail_apikeys.base import AbstractAPIKey

__all__ = ["get_actor", "get_api_key_model", "register_scopes"]


def get_api_key_model() -> type[AbstractAPIKey]:
    """Return the model that ``API_KEYS_MODEL`` names. Models must be loaded."""
    return get_setting_model("API_KEYS_MODEL")


def get_actor(request: HttpRequest | Request) -> tuple[AbstractBaseUser | None, Any]:
    """Return ``(user or None, id of the key or None)``, for columns such as ``created_by``.

    A foreign key to the user model cannot hold the principal of a key, so a key needs a column of its own.
    """
    from django.contrib.auth import get_user_model

    from dovetail_apikeys.principal import APIKeyCredential

    user = getattr(request, "user", None)
    credential = getattr(request, "auth", None)
    return (
        user if isinstance(user, get_user_model()) else None,
        credential.id if isinstance(credential, APIKeyCredential) else None,
    )
