"""Signing up. There is no account before its address is proved: what was sent waits in a table of its own."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, router, transaction
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables
from rest_framework_simplejwt.settings import api_settings

from dovetail_core.events import emit
from dovetail_identity import events, mail
from dovetail_identity.accounts import accounts_with, email_field
from dovetail_identity.conf import conf
from dovetail_identity.fields import normalize_email
from dovetail_identity.models import Registration
from dovetail_identity.sessions import Tokens, alias_of, has_field, issue_tokens
from dovetail_identity.tokens import InvalidOrExpired, registration_of_token


@sensitive_variables("password")
def register(*, email: str, password: str, first_name: str = "", last_name: str = "") -> None:
    """Mail a link that makes the account; or to the owner of an account with this address that there is one.

    Both take one query, one password hash and one row. Raises ``ValidationError`` by ``password`` where that is weak.
    """
    names = {"first_name": first_name, "last_name": last_name}
    _validate(password, email, names)
    found = accounts_with(email, active_only=False)
    using = router.db_for_write(Registration)
    with transaction.atomic(using=using):
        now = timezone.now()
        registration = Registration(
            email=normalize_email(email),
            password=make_password(password),
            created_at=now,
            expires_at=now + timedelta(hours=conf.REGISTRATION_EXPIRY_HOURS),
            **names,
        )
        registration.save(using=using, force_insert=True)
        if not found:
            mail.schedule("registration", registration, using=using)
        elif len(found) == 1 and api_settings.USER_AUTHENTICATION_RULE(found[0]):
            mail.schedule("account_exists", found[0], using=using)


@sensitive_variables("token")
def verify_email(token: str, *, request: HttpRequest | None) -> tuple[Any, Tokens]:
    """Make the account that a mailed link stands for, once, and sign it in. Emits ``user.registered``.

    Raises ``InvalidOrExpired``, also where the address has an account by now.
    """
    key = registration_of_token(token)
    using = router.db_for_write(Registration)
    rows = Registration._base_manager.using(using).filter(pk=key, expires_at__gt=timezone.now())
    registration = rows.first()
    with transaction.atomic(using=using):
        # Of two that come at once, one deletes it.
        if registration is None or not rows.delete()[0] or accounts_with(registration.email, active_only=False):
            raise InvalidOrExpired
        user = _create(registration, using)
        Registration._base_manager.using(using).filter(email=registration.email).delete()
        emit(events.USER_REGISTERED, actor=user, target=user, using=using)
        return user, issue_tokens(user, request=request, amr=("otp",))


def create_user(*, email: str, password: str, first_name: str, last_name: str) -> Any:
    """A saved user of any model that these are enough for; ``password`` is a hash, the address is proved."""
    model = get_user_model()
    values: dict[str, Any] = {email_field().name: email, "password": password}
    values |= {"first_name": first_name, "last_name": last_name, "email_verified_at": timezone.now()}
    user = model(**{name: value for name, value in values.items() if has_field(model, name)})
    user.save(force_insert=True, using=alias_of(user))
    return user


def missing_fields() -> list[str]:
    """Fields of the user model that :func:`create_user` would need a value for and has none."""
    field = email_field()
    given = {"password", "first_name", "last_name"} | ({field.name} if field else set())
    model = get_user_model()
    needed = {model.USERNAME_FIELD, *model.REQUIRED_FIELDS}
    for each in model._meta.concrete_fields:
        optional = each.null or each.has_default() or each.blank or isinstance(each, models.AutoField)
        if not optional and not getattr(each, "auto_now", False) and not getattr(each, "auto_now_add", False):
            needed.add(each.name)
    return sorted(needed - given) + ([] if field else [getattr(model, "EMAIL_FIELD", "email")])


def purge_registrations(*, batch: int = 1000) -> int:
    """Delete what nobody proved in time, ``batch`` rows at a time, and tell how many."""
    using = router.db_for_write(Registration)
    rows = Registration._base_manager.using(using)
    expired = rows.filter(expires_at__lte=timezone.now()).order_by("expires_at")
    deleted = 0
    while keys := list(expired.values_list("pk", flat=True)[:batch]):
        deleted += rows.filter(pk__in=keys).delete()[0]
    return deleted


def _create(registration: Registration, using: str) -> Any:
    try:
        with transaction.atomic(using=using):
            return conf.CREATE_USER(
                email=registration.email,
                password=registration.password,
                first_name=registration.first_name,
                last_name=registration.last_name,
            )
    except IntegrityError as error:
        raise InvalidOrExpired from error


def _validate(password: str, email: str, names: dict[str, str]) -> None:
    # A stand-in that was never saved: what is too much like it must not depend on whether there is an account.
    model = get_user_model()
    field = email_field()
    values = names | ({field.name: email} if field else {})
    stand_in = model(**{name: value for name, value in values.items() if has_field(model, name)})
    try:
        validate_password(password, stand_in)
    except ValidationError as error:
        raise ValidationError({"password": error.messages}) from error
