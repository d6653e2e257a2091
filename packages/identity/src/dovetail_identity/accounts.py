"""Finding accounts by address, for any user model."""

from __future__ import annotations

import logging
from typing import Any

from django.contrib.auth import get_user_model
from django.db import router
from rest_framework_simplejwt.settings import api_settings

from dovetail_identity.fields import NormalizedEmailField

logger = logging.getLogger("dovetail.identity")


def email_field() -> Any:
    """The user model's field of e-mail addresses, or None."""
    model = get_user_model()
    name = getattr(model, "EMAIL_FIELD", "email")
    return next((field for field in model._meta.concrete_fields if field.name == name), None)


def address_of(user: Any) -> str:
    """What is stored, never what was typed: two addresses may be equal to a database and not to a mail server."""
    field = email_field()
    return getattr(user, field.attname) or "" if field else ""


def accounts_with(address: str, *, active_only: bool = True) -> list[Any]:
    """At most two accounts with this address, in any case; in one query."""
    field = email_field()
    if field is None or not address.strip():
        return []
    lookup = field.name if isinstance(field, NormalizedEmailField) else f"{field.name}__iexact"
    model = get_user_model()
    users = model._default_manager.using(router.db_for_write(model)).filter(**{lookup: address.strip()})
    if active_only and any(each.name == "is_active" for each in model._meta.concrete_fields):
        users = users.filter(is_active=True)
    return list(users[:2])


def account_with(address: str) -> Any:
    """The account that has this address alone and may sign in, else None; several are logged."""
    found = accounts_with(address)
    if len(found) > 1:
        logger.warning("No mail was sent: several rows of %s have the address.", get_user_model()._meta.label)
        return None
    return found[0] if found and api_settings.USER_AUTHENTICATION_RULE(found[0]) else None
