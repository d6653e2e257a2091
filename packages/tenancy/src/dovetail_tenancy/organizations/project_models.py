"""The organization, membership and user models of the project, which may lack any field that ours have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db import router
from django.db.models import Field, ForeignKey, Model, QuerySet

from dovetail_core import accounts
from dovetail_core.models import get_setting_model
from dovetail_tenancy.conf import MEMBERSHIP_FIELDS, membership_lookups, membership_path
from dovetail_tenancy.isolation.scope import parse_key

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
    model = get_membership_model()
    user = concrete_field(model, membership_path("user"))
    if not isinstance(user, ForeignKey):
        fields = ", ".join(sorted(field.name for field in model._meta.concrete_fields))
        raise ImproperlyConfigured(
            f"The membership model {model._meta.label} has no foreign key {membership_path('user')!r} to the user. "
            f"Its fields are: {fields}. TENANCY_MEMBERSHIP_FIELDS maps 'user' to another name."
        )
    return user.related_model


class MembershipAlias(property):
    """An attribute that ``add_membership_attributes`` added. Django accepts properties as arguments of a new row."""


def is_membership_alias(model: type[Model], name: str) -> bool:
    return isinstance(getattr(model, name, None), MembershipAlias)


def add_membership_attributes() -> None:
    """Make ``user``, ``organization`` and ``role`` attributes of a membership model whose fields have other names.

    Hooks, receivers of events and views read ``membership.role`` without knowing the model.
    """
    model = get_membership_model()
    for name in MEMBERSHIP_FIELDS:
        actual = membership_path(name)
        for suffix in ("", "_id") if name != "role" else ("",):
            # A model's own attribute of this name stays. A check reports it.
            if actual != name and not hasattr(model, name + suffix) and concrete_field(model, actual):
                setattr(model, name + suffix, _alias(actual + suffix))


def _alias(name: str) -> MembershipAlias:
    def read(membership: Any) -> Any:
        return getattr(membership, name)

    def write(membership: Any, value: Any) -> None:
        setattr(membership, name, value)

    return MembershipAlias(read, write)


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
    rows = get_membership_model()._base_manager.using(using).filter(**membership_lookups(user=user.pk))
    return list(rows.order_by(membership_path("organization_id")))


def active_members(organization_id: object, role: str, *, using: str) -> QuerySet[Model]:
    """Return the memberships with this role whose users can sign in, oldest first."""
    lookups = membership_lookups(organization=organization_id, role=role)
    rows = get_membership_model()._base_manager.using(using).filter(**lookups)
    return with_active_user(rows.order_by("pk"))


def is_active_member(user: Actor, organization_id: object) -> bool:
    """Return whether the user is a member now and can sign in. One query; the instance itself may be out of date."""
    lookups = membership_lookups(user=user.pk, organization=organization_id)
    rows = get_membership_model()._base_manager.filter(**lookups)
    return with_active_user(rows).exists()


def with_active_user(memberships: QuerySet[Model]) -> QuerySet[Model]:
    if concrete_field(user_model(), "is_active") is None:
        return memberships
    return memberships.filter(**membership_lookups(user__is_active=True))
