"""Whose an address is, for any user model."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.db import models, router
from django.http import HttpRequest

logger = logging.getLogger("dovetail.magiclink")

# Enough to see whether one of them alone may sign in, and no reading of a table that is full of one address.
_MOST = 10


@dataclass(frozen=True)
class Owner:
    """``user`` is the one who may sign in by an address; ``taken`` says that somebody has it, whoever may not."""

    user: Any = None
    taken: bool = False


def normalize(address: str) -> str:
    return address.strip().lower()


def address_key(address: str) -> str:
    return hashlib.sha256(normalize(address).encode()).hexdigest()


def email_field() -> Any:
    """The user model's field of e-mail addresses, or None."""
    model = get_user_model()
    name = getattr(model, "EMAIL_FIELD", "email")
    return next((field for field in model._meta.concrete_fields if field.name == name), None)


def address_of(user: Any) -> str:
    """What is stored, never what was typed: two addresses may be equal to a database and not to a mail server."""
    field = email_field()
    return getattr(user, field.attname) or "" if field else ""


def owner_of(address: str) -> Owner:
    """Who has this address in any case, by one query. An address that several active users have is nobody's."""
    field = email_field()
    if field is None:
        return Owner()
    lookup = field.name if _normalizes(field) else f"{field.name}__iexact"
    model = get_user_model()
    found = model._default_manager.using(router.db_for_write(model)).filter(**{lookup: address})[:_MOST]
    # Databases fold more than case: PostgreSQL takes a dotless ı for I, MariaDB é for e. To a mail server, and to what
    # is counted for an address, these are others.
    users = [user for user in found if normalize(address_of(user)) == normalize(address)]
    active = [user for user in users if getattr(user, "is_active", True)]
    if len(active) > 1:
        logger.warning("Treated as unknown: several rows of %s have the address.", model._meta.label)
    return Owner(user=active[0] if len(active) == 1 else None, taken=bool(found))


def create_user(*, email: str, request: HttpRequest | None) -> Any:
    """An account of the address without a usable password, saved. The address is its user name as well.

    Raises ``ValidationError`` where the user model needs more than that.
    """
    model: Any = get_user_model()
    user = model(**dict.fromkeys({model.USERNAME_FIELD, email_field().name}, email))
    user.set_unusable_password()
    user.full_clean()
    user.save()
    return user


def missing_fields() -> list[str]:
    """Fields of the user model that :func:`create_user` would need a value for and has none."""
    model: Any = get_user_model()
    field = email_field()
    if field is None:
        return [getattr(model, "EMAIL_FIELD", "email")]
    given = {model.USERNAME_FIELD, field.name, "password"}
    return sorted(each.name for each in model._meta.concrete_fields if each.name not in given and _needs_value(each))


def has_field(user: Any, name: str) -> bool:
    return any(field.name == name for field in user._meta.concrete_fields)


def _normalizes(field: Any) -> bool:
    """Whether the field itself stores and looks up lower case: then the plain index finds the address."""
    return bool(field.get_prep_value("Ada@Example.com") == "ada@example.com")


def _needs_value(field: models.Field[Any, Any]) -> bool:
    dated = getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)
    return not (field.null or field.has_default() or field.blank or isinstance(field, models.AutoField) or dated)
