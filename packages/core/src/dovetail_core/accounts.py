"""Accounts of any user model: their addresses, labels, and whether they may sign in."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db import router
from django.db.models import NOT_PROVIDED, AutoField, Field, QuerySet


def normalize_address(address: str) -> str:
    """The form in which addresses are compared: no surrounding space, lower case.

    RFC 5321 lets a host distinguish ``Ada@`` from ``ada@``; no host in use does, and an account for each is how one
    person's mail opens another's account.
    """
    return address.strip().lower()


def has_field(model: Any, name: str) -> bool:
    """Whether ``model``, a class or an instance, has a column for the field ``name``."""
    return any(field.name == name for field in model._meta.concrete_fields)


def email_field(model: Any = None) -> Any:
    """The field of e-mail addresses (``EMAIL_FIELD``) of ``model``, a class or an instance, or None if it has none.

    Without ``model``, of the project's user model.
    """
    model = get_user_model() if model is None else model
    name = getattr(model, "EMAIL_FIELD", "email")
    return next((field for field in model._meta.concrete_fields if field.name == name), None)


def address_of(user: Any) -> str:
    """The stored address of ``user``, or an empty string.

    Mail goes to this address, never to what a person typed: the database may find an account by an address that is
    another one to a mail server.
    """
    field = email_field(user)
    return getattr(user, field.attname) or "" if field else ""


def label_of(user: Any) -> str:
    """A name for people to read: the full name, else the address, else the user name."""
    full_name = user.get_full_name() if hasattr(user, "get_full_name") else ""
    return str(full_name or address_of(user) or user.get_username())


def may_sign_in(user: Any) -> bool:
    """Whether the account is active. A user model without ``is_active`` has active accounts only."""
    return bool(getattr(user, "is_active", True))


def active(users: QuerySet[Any]) -> QuerySet[Any]:
    """Those of ``users`` that may sign in, where the database can tell."""
    return users.filter(is_active=True) if has_field(users.model, "is_active") else users


def accounts_with(address: str, *, active_only: bool = False, limit: int = 2) -> list[Any]:
    """At most ``limit`` accounts whose address is equal to ``address`` for the database, in any case; in one query.

    From the database that is written, because a replica may not have a new account yet. Databases fold more than case
    (PostgreSQL takes a dotless ı for I, MariaDB é for e): filter by :func:`same_address` where the difference
    matters.
    """
    field = email_field()
    address = address.strip()
    # PostgreSQL stores no NUL, and raises an error for one in a query.
    if field is None or not address or "\0" in address:
        return []
    # Where the field itself stores and looks up lower case, the plain index finds the address.
    normalizes = field.get_prep_value("Ada@Example.com") == "ada@example.com"
    lookup = field.name if normalizes else f"{field.name}__iexact"
    model = get_user_model()
    users = model._default_manager.using(router.db_for_write(model)).filter(**{lookup: address})
    return list((active(users) if active_only else users)[:limit])


def same_address(user: Any, address: str) -> bool:
    """Whether ``address`` is the one of ``user`` to a mail server that ignores case and nothing else."""
    return normalize_address(address_of(user)) == normalize_address(address)


def required_fields(model: Any) -> set[str]:
    """The names of the fields that a new row needs a value for: neither Django nor the database supplies one."""
    return {field.name for field in model._meta.concrete_fields if _needs_value(field)}


def create_passwordless_account(address: str, model: Any = None) -> Any:
    """A saved account with this address and an unusable password. The address is its user name as well.

    Of the project's user model, or of ``model``. Raises ``ValidationError`` where the model requires more fields.
    """
    model = get_user_model() if model is None else model
    field = email_field(model)
    user = model(**dict.fromkeys({model.USERNAME_FIELD, *([field.name] if field else [])}, address))
    user.set_unusable_password()
    user.full_clean()
    user.save()
    return user


def _needs_value(field: Field[Any, Any]) -> bool:
    if field.null or field.blank or field.has_default() or isinstance(field, AutoField):
        return False
    if getattr(field, "db_default", NOT_PROVIDED) is not NOT_PROVIDED or getattr(field, "generated", False):
        return False
    return not (getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False))
