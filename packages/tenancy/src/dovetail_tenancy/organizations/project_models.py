"""The organization, membership and user models of the project, which may lack any field that ours have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, cast

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db import router
from django.db.models import Field, ForeignKey, Model, QuerySet

from dovetail_core import accounts
from dovetail_core.models import get_setting_model
from dovetail_tenancy.isolation.organization_model import parse_key

if TYPE_CHECKING:
    # The package is imported before the app registry is ready, when modules that define models cannot be imported.
    from django.contrib.auth.base_user import AbstractBaseUser


class Actor(Protocol):
    """A user, or the principal of a machine's credential."""

    pk: Any


class Member(Protocol):
    """An instance of the membership model."""

    pk: Any
    user_id: Any
    organization_id: Any
    role: Any

    def save(self, *, using: str, update_fields: list[str]) -> None: ...


def get_membership_model() -> type[Model]:
    """Return the model that ``TENANCY_MEMBERSHIP_MODEL`` names. Models must be loaded."""
    return get_setting_model("TENANCY_MEMBERSHIP_MODEL")


def user_model() -> type[Model]:
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
    field = accounts.email_field(user_model())
    return None if field is None else str(field.name)


def is_person(user: object) -> TypeGuard[AbstractBaseUser]:
    """Return whether ``user`` is a saved row of the user model and may sign in.

    The principal of a machine is not, even if its key equals a person's.
    """
    model: Any = get_user_model()
    return isinstance(user, model) and user.pk is not None and accounts.may_sign_in(user)


def database_of(instance: Model | Member) -> str:
    # type() of a lazy object is the class of the proxy.
    model: Any = instance.__class__
    return router.db_for_write(model, instance=instance)


def find_row(rows: QuerySet[Any], key: object) -> Any:
    """Return the row with this primary key, or None if it does not exist or ``key`` cannot be a key."""
    try:
        return rows.filter(pk=parse_key(rows.model, key)).first()
    except ValueError:
        return None


def memberships_of(user: Model, *, using: str) -> list[Any]:
    """Return the user's memberships in a fixed order, which prevents deadlocks of transactions that lock several."""
    rows = get_membership_model()._base_manager.using(using).filter(user=user.pk)
    return list(rows.order_by("organization_id"))


def active_members(organization_id: object, role: str, *, using: str) -> QuerySet[Model]:
    """Return the memberships with this role whose users can sign in, oldest first."""
    rows = get_membership_model()._base_manager.using(using).filter(organization=organization_id, role=role)
    return _with_active_user(rows.order_by("pk"))


def is_active_member(user: Actor, organization_id: object) -> bool:
    """Return whether the user is a member now and can sign in. One query; the instance itself may be out of date."""
    rows = get_membership_model()._base_manager.filter(user=user.pk, organization=organization_id)
    return _with_active_user(rows).exists()


def _with_active_user(memberships: QuerySet[Model]) -> QuerySet[Model]:
    return memberships.filter(user__is_active=True) if concrete_field(user_model(), "is_active") else memberships
