"""The person that a key acts for (``API_KEYS_PRINCIPAL``), and the organization whose keys a request manages."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model

from dovetail_apikeys import get_api_key_model
from dovetail_apikeys.principal.api_key import APIKeyCredential
from dovetail_core.context import Credential


def owner(credential: APIKeyCredential) -> Any:
    """The person who owns the key, if ``API_KEYS_ORGANIZATION_MODEL`` is the user model. One query per request."""
    return _active_user(credential.organization_id)


def creator(credential: APIKeyCredential) -> Any:
    """The person who created the key. The key can do no more than that person. One query per request."""
    return _active_user(credential.created_by_id)


def organization_of(request: Any) -> Any:
    """The default of ``API_KEYS_ORGANIZATION_RESOLVER``.

    Returns the organization that the credential names, else the signed-in user if users own keys, else None.
    """
    credential = getattr(request, "auth", None)
    if isinstance(credential, Credential) and credential.organization_id is not None:
        return credential.organization_id
    user: Any = request.user
    owner_model: Any = get_api_key_model()._meta.get_field("organization").related_model
    return user.pk if owner_model is get_user_model() and isinstance(user, owner_model) else None


def _active_user(key: Any) -> Any:
    if key is None:
        return None
    model = get_user_model()
    user = model._default_manager.filter(pk=key).first()
    return user if user is not None and getattr(user, "is_active", True) else None
