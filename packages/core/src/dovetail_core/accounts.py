"""Accounts of any user model: lookup by e-mail address, labels, and whether an account may sign in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import router
from django.db.models import NOT_PROVIDED, Model, QuerySet

#: Apps that add a second factor to the project's own sign-in: django-allauth, django-otp (also of
#: django-two-factor-auth), django-trench, django-mfa2, django-mfa3 (both "mfa") and django-multifactor.
SECOND_FACTOR_APPS = ("allauth.mfa", "django_otp", "trench", "mfa", "multifactor")

if TYPE_CHECKING:  # a model, which cannot be imported before the app registry is ready
    from django.contrib.auth.base_user import AbstractBaseUser


def normalize_address(address: str) -> str:
    """Return the form in which addresses are compared: without surrounding space, in lower case.

    RFC 5321 lets a host tell ``Ada@`` from ``ada@``, but no host in use does. Separate accounts for the two would let
    one person's mail open another's account.
    """
    return address.strip().lower()


def has_field(model: Model | type[Model], name: str) -> bool:
    return any(field.name == name for field in model._meta.concrete_fields)


def email_field(model: Model | type[Model] | None = None) -> Any:
    """Return the field that is named in ``EMAIL_FIELD`` of ``model`` (default: the user model), or None."""
    model = get_user_model() if model is None else model
    name = getattr(model, "EMAIL_FIELD", "email")
    return next((field for field in model._meta.concrete_fields if field.name == name), None)


def address_of(user: Model) -> str:
    """Return the stored e-mail address of ``user``, or an empty string.

    Always send mail to this address, never to the one that a person typed: the database may consider two addresses
    equal that are different to a mail server.
    """
    field = email_field(user)
    return getattr(user, field.attname) or "" if field else ""


def label_of(user: AbstractBaseUser) -> str:
    """Return a name to display: the full name, else the address, else the username, else ``str(user)``."""
    full_name = user.get_full_name() if hasattr(user, "get_full_name") else ""
    return str(full_name or address_of(user) or (user.get_username() if hasattr(user, "get_username") else user))


def may_sign_in(user: object) -> bool:
    """Return whether the account is active. Without an ``is_active`` attribute, every account is."""
    return bool(getattr(user, "is_active", True))


def second_factor_app() -> str | None:
    """Return the installed app of ``SECOND_FACTOR_APPS``, or None. Our own endpoints do not ask for its factor."""
    return next(filter(apps.is_installed, SECOND_FACTOR_APPS), None)


def active(users: QuerySet[Any]) -> QuerySet[Any]:
    """Return the active accounts of ``users``: all of them if ``is_active`` is not a column."""
    return users.filter(is_active=True) if has_field(users.model, "is_active") else users


def accounts_with(address: str, *, active_only: bool = False, limit: int = 2) -> list[Any]:
    """Return at most ``limit`` accounts whose address the database considers equal to ``address`` in any case.

    Takes one query, to the database for writes, because a replica may not have a new account yet. Databases fold more
    than case (PostgreSQL takes a dotless ı for I, MariaDB é for e): filter by :func:`same_address` where that matters.
    """
    field = email_field()
    address = address.strip()
    # PostgreSQL raises an error for a NUL in a query.
    if field is None or not address or "\0" in address:
        return []
    # A field that normalizes its lookups needs no iexact, which could not use the plain index.
    normalizes = field.get_prep_value("Ada@Example.com") == "ada@example.com"
    lookup = field.name if normalizes else f"{field.name}__iexact"
    model = get_user_model()
    users = model._default_manager.using(router.db_for_write(model)).filter(**{lookup: address})
    return list((active(users) if active_only else users)[:limit])


def same_address(user: Model, address: str) -> bool:
    """Return whether ``address`` is the address of ``user`` to a mail server that ignores only case."""
    return normalize_address(address_of(user)) == normalize_address(address)


def required_fields(model: type[Model]) -> set[str]:
    """Return the names of the fields for which neither Django nor the database supplies a value."""
    fields = [field for field in model._meta.concrete_fields if not (field.null or field.blank or field.has_default())]
    # Automatic keys, dates that Django sets and generated fields are blank.
    return {field.name for field in fields if field.db_default is NOT_PROVIDED}


def address_fields(model: type[Model] | None = None) -> set[str]:
    """Return the names of the fields of ``model`` (default: the user model) that hold the address of a new account.

    Those are the e-mail address and the username, of which a model that does not inherit ``AbstractBaseUser`` may lack
    either.
    """
    field, username = email_field(model), getattr(model or get_user_model(), "USERNAME_FIELD", None)
    return {name for name in (username, field and field.name) if name}


def create_passwordless_account(address: str, model: type[Model] | None = None) -> Any:
    """Create an account with this address and an unusable password. The address is also its username.

    ``model`` defaults to the project's user model. Raises ``ValidationError`` if the model requires more fields, or has
    none for the address.
    """
    user_model: Any = model or get_user_model()
    names = address_fields(user_model)
    if not names:
        raise ValidationError(f"{user_model._meta.label} has no field for an e-mail address.")
    user = user_model(**dict.fromkeys(names, address))
    if hasattr(user, "set_unusable_password"):
        user.set_unusable_password()
    user.full_clean()
    user.save()
    return user
