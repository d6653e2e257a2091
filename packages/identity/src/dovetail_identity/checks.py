from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Info, Warning  # noqa: A004  # names of Django
from django.db import models
from django.db.models.functions import Lower, Upper
from rest_framework_simplejwt import settings as simplejwt

from dovetail_core.accounts import email_field
from dovetail_identity.conf import conf
from dovetail_identity.fields import NormalizedEmailField
from dovetail_identity.registration import create_user, missing_fields


def check_settings(**_: Any) -> list[CheckMessage]:
    return conf.check()


def check_simplejwt(**_: Any) -> Iterator[CheckMessage]:
    blacklist = "rest_framework_simplejwt.token_blacklist"
    if simplejwt.api_settings.BLACKLIST_AFTER_ROTATION and not apps.is_installed(blacklist):
        yield Error(
            f"SIMPLE_JWT['BLACKLIST_AFTER_ROTATION'] is True, but {blacklist!r} is not in INSTALLED_APPS.",
            hint=f"Add {blacklist!r} to INSTALLED_APPS and run migrate, or remove BLACKLIST_AFTER_ROTATION.",
            id="dovetail_identity.E002",
        )
    model, name = get_user_model(), simplejwt.api_settings.USER_ID_FIELD
    if name not in (names := [field.name for field in model._meta.concrete_fields if field.unique]):
        yield Error(
            f"SIMPLE_JWT['USER_ID_FIELD'] is {name!r}, which is not a unique field of {model._meta.label}.",
            hint=f"Set it to one of: {', '.join(map(repr, names))}.",
            obj=model,
            id="dovetail_identity.E003",
        )


def check_registration(**_: Any) -> Iterator[CheckMessage]:
    if conf.REGISTRATION is not True:
        return
    if conf.CREATE_USER is create_user and (missing := missing_fields()):
        yield Error(
            "IDENTITY_REGISTRATION is True, but registrations do not provide required fields of "
            f"{get_user_model()._meta.label}: {', '.join(missing)}.",
            hint="Set IDENTITY_CREATE_USER to a function that creates the user, or remove IDENTITY_REGISTRATION.",
            obj=get_user_model(),
            id="dovetail_identity.E004",
        )
    if not conf.EMAIL_VERIFICATION_URL:
        yield Error(
            "IDENTITY_REGISTRATION is True, but IDENTITY_EMAIL_VERIFICATION_URL is not set.",
            hint="Set it to the page of your app that posts its ?token= to email/verify/.",
            id="dovetail_identity.E005",
        )


# For deployment only, because projects that use the package only for tokens have no such page.
def check_password_reset(**_: Any) -> Iterator[CheckMessage]:
    if not conf.PASSWORD_RESET_URL:
        yield Warning(
            "IDENTITY_PASSWORD_RESET_URL is not set, so password/reset/ does not send mail.",
            hint="Set it to the page of your app that posts its ?token= to password/reset/confirm/.",
            id="dovetail_identity.W004",
        )


# For deployment only, because these settings are harmless and projects may also use simplejwt's views.
def check_rotation(**_: Any) -> Iterator[CheckMessage]:
    names = ("ROTATE_REFRESH_TOKENS", "BLACKLIST_AFTER_ROTATION")
    active = [name for name in names if getattr(simplejwt.api_settings, name)]
    if active:
        yield Info(
            f"SIMPLE_JWT[{active[0]!r}] has no effect on dovetail_identity, which rotates refresh tokens by session.",
            hint=f"Remove {' and '.join(active)}, unless you also use simplejwt's views.",
            id="dovetail_identity.I002",
        )


def check_sign_in_email(**_: Any) -> Iterator[CheckMessage]:
    field = _ambiguous_email()
    if field is not None and field.name == get_user_model().USERNAME_FIELD:
        yield Warning(
            f"{field.model._meta.label}.{field.name} is used for sign-in, but is not unique regardless of case.",
            hint=_unique_hint(field),
            obj=field,
            id="dovetail_identity.W002",
        )


# For deployment only, because it applies to Django's own user model and would appear with every command.
def check_other_email(**_: Any) -> Iterator[CheckMessage]:
    field = _ambiguous_email()
    if field is not None and field.name != get_user_model().USERNAME_FIELD:
        yield Info(
            f"{field.model._meta.label}.{field.name} is not unique regardless of case. An address that belongs to "
            "several accounts is treated as unknown.",
            hint=_unique_hint(field),
            obj=field,
            id="dovetail_identity.I001",
        )


def check_signing_key(**_: Any) -> Iterator[CheckMessage]:
    symmetric = str(simplejwt.api_settings.ALGORITHM).startswith("HS")
    if symmetric and simplejwt.api_settings.SIGNING_KEY in {settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS}:
        yield Warning(
            "Access tokens are signed with SECRET_KEY. Anyone who has this key can sign in as any user, and the keys "
            "cannot be rotated separately.",
            hint="Set SIMPLE_JWT['SIGNING_KEY'] to another random key of at least 32 characters.",
            id="dovetail_identity.W003",
        )


def _ambiguous_email() -> models.Field[Any, Any] | None:
    field: models.Field[Any, Any] | None = email_field(get_user_model())
    return None if field is None or _unique_in_any_case(field) else field


def _unique_hint(field: models.Field[Any, Any]) -> str:
    return (
        "Make it a unique dovetail_identity.fields.NormalizedEmailField, or add "
        f"UniqueConstraint(Lower({field.name!r}), name=…). First, change rows that differ only by case."
    )


def _unique_in_any_case(field: models.Field[Any, Any]) -> bool:
    # The collation of a unique column is assumed to ignore case.
    if field.unique and (isinstance(field, NormalizedEmailField) or getattr(field, "db_collation", None)):
        return True
    return any(
        isinstance(constraint, models.UniqueConstraint)
        and [_folded(expression) for expression in constraint.expressions] == [field.name]
        for constraint in field.model._meta.constraints
    )


def _folded(expression: object) -> str | None:
    if not isinstance(expression, Lower | Upper):
        return None
    inner = expression.get_source_expressions()[0]
    return inner.name if isinstance(inner, models.F) else None  # type: ignore[attr-defined]  # missing in the stubs
