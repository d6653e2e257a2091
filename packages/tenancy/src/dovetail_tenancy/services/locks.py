"""The owners of an organization: the lock that every change to them takes, and what must hold after it."""

from __future__ import annotations

import contextlib
from typing import Any, cast

from django.core.exceptions import FieldDoesNotExist, ObjectDoesNotExist
from django.db import connections, router
from django.db.models import F, Field, ForeignKey, Model, QuerySet

from dovetail_tenancy import get_membership_model, get_organization_model
from dovetail_tenancy.exceptions import Gone, LastOwner, RoleNotAllowed
from dovetail_tenancy.organizations.roles import OWNER, rank, role_of, role_permits


def field(model: type[Model], name: str) -> Field[Any, Any] | None:
    """A concrete field by its name, or None: the organization and the user may be any model of the project."""
    try:
        found = model._meta.get_field(name)
    except FieldDoesNotExist:
        return None
    return found if isinstance(found, Field) and found.concrete else None


def database(instance: Any) -> str:
    # Not type(): the instance may be a lazy object that stands for it.
    return router.db_for_write(instance.__class__, instance=instance)


def has_owner(organization_model: type[Model]) -> bool:
    """Whether ``organization.owner`` is ours to keep: a foreign key to the model that memberships point at."""
    owner = field(organization_model, "owner")
    return isinstance(owner, ForeignKey) and owner.related_model is user_model()


def lock_organization(organization_id: Any, *, using: str) -> Any:
    """The organization as it is now, its row locked until the transaction ends.

    Raises ``Gone``. Without the lock two owners demote each other at the same moment: each
    transaction still sees the other owner, and none is left.
    """
    # NO KEY: inserting the organization's rows checks a foreign key to this one and must not wait for us.
    return lock_row(get_organization_model(), organization_id, using=using)


def lock_user(user: Any, *, using: str) -> Any:
    """The user's row, locked; nobody can make the user a member of anything until the transaction ends."""
    return lock_row(user_model(), user.pk, no_key=False, using=using)


def lock_row(model: type[Model], pk: Any, *, no_key: bool = True, using: str) -> Any:
    """The row as it is now, locked until the transaction ends. Raises ``Gone``."""
    rows = model._base_manager.using(using).filter(pk=pk)
    features = connections[using].features
    if features.has_select_for_update:
        rows = rows.select_for_update(no_key=no_key and features.has_select_for_no_key_update)
    else:
        # SQLite's lock is taken by the first write. After a read, a second writer would fail instead of waiting.
        rows.update(**{model._meta.pk.name: F(model._meta.pk.name)})
    return one_row(rows)


def one_row(rows: QuerySet[Model]) -> Any:
    try:
        return rows.get()
    except ObjectDoesNotExist:
        raise Gone(str(rows.model._meta.verbose_name)) from None


def lock_membership(membership: Any, *, using: str) -> tuple[Any, Any]:
    """The membership's organization, locked, and the membership as it is under that lock."""
    organization = lock_organization(membership.organization_id, using=using)
    return organization, one_row(get_membership_model()._base_manager.using(using).filter(pk=membership.pk))


def memberships_of(user: Any, *, using: str) -> list[Any]:
    rows = get_membership_model()._base_manager.using(using).filter(user=user.pk)
    # In one order for everybody: two transactions that lock the same organizations do not wait for each other.
    return list(rows.order_by("organization_id"))


def lock_organizations_of(user: Any, *, using: str) -> dict[Any, Any]:
    """The organizations the user is a member of by their keys, all locked, and the user's row with them."""
    locked: dict[Any, Any] = {}
    for lock_the_user in (True, False):
        for membership in memberships_of(user, using=using):
            if (key := membership.organization_id) not in locked:
                with contextlib.suppress(Gone):
                    locked[key] = lock_organization(key, using=using)
        # Organizations first, as everywhere; the second round is for what the user joined meanwhile.
        if lock_the_user:
            lock_user(user, using=using)
    return locked


def active_members(organization_id: Any, role: str, *, using: str) -> QuerySet[Model]:
    """Memberships in this role of those who can sign in, the longest-standing first."""
    model = get_membership_model()
    members = model._base_manager.using(using).filter(organization=organization_id, role=role).order_by("pk")
    return members.filter(user__is_active=True) if field(user_model(), "is_active") else members


def still_member(user: Any, organization_id: Any) -> bool:
    """Whether the person is a member now and may sign in, by one query; ``user`` itself may be as old as its socket."""
    members = get_membership_model()._base_manager.filter(user=user.pk, organization=organization_id)
    return (members.filter(user__is_active=True) if field(user_model(), "is_active") else members).exists()


def user_model() -> type[Model]:
    return cast("type[Model]", get_membership_model()._meta.get_field("user").related_model)


def email_field() -> str | None:
    """The name of the user model's e-mail field, or None where it has none."""
    model: Any = user_model()
    name = str(getattr(model, "EMAIL_FIELD", "email"))
    return name if field(model, name) else None


def settle_owners(organization: Any, *, using: str) -> None:
    """Make what must hold after owners were taken away hold, or raise ``LastOwner``. Under the lock only."""
    owners = list(active_members(organization.pk, OWNER, using=using).values_list("user_id", flat=True))
    if not owners:
        raise LastOwner([organization])
    if has_owner(get_organization_model()) and organization.owner_id not in owners:
        organization.owner_id = owners[0]
        save_fields(organization, ["owner"], using=using)


def save_fields(instance: Any, names: list[str], *, using: str) -> None:
    # auto_now writes only what update_fields names.
    stamped = [*names, "updated_at"] if field(instance.__class__, "updated_at") else names
    instance.save(update_fields=stamped, using=using)


def authorize(actor: Any, organization_id: Any, permission: str, *touched: str, using: str) -> None:
    """Raise ``RoleNotAllowed`` unless the actor's role has the permission and ranks no lower than each touched role.

    Asked under the lock: an actor who was demoted since the request began has lost the right. ``None`` is the system
    itself (an administration site, a command, a migration) and may do everything.
    """
    if actor is None:
        return
    own = role_of(actor, organization_id, using=using)
    if own is None or not role_permits(own, permission):
        raise RoleNotAllowed(f"This needs a role with {permission!r}; yours is {own or 'none'}.")
    for role in touched:
        if rank(role) < rank(own):
            raise RoleNotAllowed(f"The role {role!r} is above yours, {own!r}. Ask somebody who has it.")
