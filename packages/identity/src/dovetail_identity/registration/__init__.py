"""Registration, e-mail verification and passwords. ``create_user`` is the default of ``IDENTITY_CREATE_USER``."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.utils import timezone

from dovetail_core.accounts import email_field, has_field, required_fields
from dovetail_identity.sessions.queries import alias_of


def create_user(*, email: str, password: str, first_name: str, last_name: str) -> Any:
    """Create and return a user whose address is verified. ``password`` is a hash."""
    model = get_user_model()
    values: dict[str, Any] = {email_field().name: email, "password": password}
    values |= {"first_name": first_name, "last_name": last_name, "email_verified_at": timezone.now()}
    user = model(**{name: value for name, value in values.items() if has_field(model, name)})
    user.save(force_insert=True, using=alias_of(user))
    return user


def missing_fields() -> list[str]:
    """Return the names of required fields of the user model for which :func:`create_user` has no value."""
    email = email_field()
    provided = {"password", "first_name", "last_name"} | ({email.name} if email else set())
    model = get_user_model()
    required = {model.USERNAME_FIELD, *model.REQUIRED_FIELDS} | required_fields(model)
    return sorted(required - provided) + ([] if email else [getattr(model, "EMAIL_FIELD", "email")])
