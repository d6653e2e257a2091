"""The membership, organization and user models of the project, which may lack any field that ours have."""

from __future__ import annotations

from typing import Any, cast

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db import router
from django.db.models import Field, ForeignKey, Model

from dovetail_core import accounts
from dovetail_core.models import get_setting_model


def get_membership_model() -> type[Model]:
    """Return the model that ``TENANCY_MEMBERSHIP_MODEL`` names. Models must be loaded."""
    return get_setting_model("TENANCY_MEMBERSHIP_MODEL")


def user_model() -> type[Model]:
    """Return the model that the membership's ``user`` points at."""
    return cast("type[Model]", get_membership_model()._meta.get_field("user").related_model)


def concrete_field(model: type[Model], name: str) -> Field[Any, Any] | None:
    """Return the model's field if it exists and has a column, else None."""
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return None
    return field if isinstance(field, Field) and field.concrete else None


def has_owner_field(organization_model: type[Model]) -> bool:
    """Return whether the model has an ``owner`` that the services maintain: a foreign key to the members' model."""
    owner = concrete_field(organization_model, "owner")
    return isinstance(owner, ForeignKey) and owner.related_model is user_model()


def email_field_name() -> str | None:
    """Return the name of the user model's e-mail field, or None if it has none."""
    field = accounts.email_field(user_model())
    return None if field is None else str(field.name)


def is_person(user: Any) -> bool:
    """Return whether ``user`` is a saved row of the user model and may sign in.

    A machine's principal never is: its key could equal a person's.
    """
    model: Any = get_user_model()
    return isinstance(user, model) and user.pk is not None and accounts.may_sign_in(user)


def database_of(instance: Any) -> str:
    """Return the alias of the database that the instance is written to."""
    # Not type(instance), which is the proxy's type for a lazy object.
    return router.db_for_write(instance.__class__, instance=instance)
