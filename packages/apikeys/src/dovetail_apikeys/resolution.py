"""Whose keys a request manages, where ``API_KEYS_ORGANIZATION_RESOLVER`` says nothing else."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model

from dovetail_apikeys import get_api_key_model
from dovetail_core.context import Credential


def organization_of(request: Any) -> Any:
    """The organization that the credential names; else the signed-in user, where users own keys; else None."""
    credential = getattr(request, "auth", None)
    if isinstance(credential, Credential) and credential.organization_id is not None:
        return credential.organization_id
    user: Any = request.user
    owner: Any = get_api_key_model()._meta.get_field("organization").related_model
    return user.pk if owner is get_user_model() and isinstance(user, owner) else None
