"""Accounts that go or can sign in no more, and the organizations they owned."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from django.db import router, transaction

from dovetail_tenancy import events, get_membership_model
from dovetail_tenancy.exceptions import LastOwner
from dovetail_tenancy.organizations.roles import OWNER, declared_roles
from dovetail_tenancy.services.locks import (
    active_members,
    database,
    lock_organizations_of,
    memberships_of,
    settle_owners,
    user_model,
)
from dovetail_tenancy.services.members import remove_locked
from dovetail_tenancy.services.organizations import delete_locked


def delete_user(user: Any, *, on_owned: Literal["refuse", "transfer", "delete"] = "refuse", actor: Any = None) -> None:
    """Delete the user and end every membership.

    ``on_owned`` says what becomes of organizations that would have no owner left who can sign in: ``"refuse"`` raises
    ``LastOwner``, which names them; ``"transfer"`` makes the longest-standing of the highest-ranking active members
    an owner, and raises ``LastOwner`` where there is none; ``"delete"`` deletes those organizations.
    """
    if on_owned not in ("refuse", "transfer", "delete"):
        raise ValueError(f"on_owned is {on_owned!r}; it takes 'refuse', 'transfer' or 'delete'.")
    using = router.db_for_write(get_membership_model())
    with transaction.atomic(using=using):
        organizations = lock_organizations_of(user, using=using)
        memberships = [(organizations[found.organization_id], found) for found in memberships_of(user, using=using)]
        alone = [organization for organization, found in memberships if _owns_alone(organization, found, using=using)]
        if on_owned == "transfer":
            alone = [
                organization for organization in alone if not _promote_heir(organization, user, actor, using=using)
            ]
        if alone and on_owned != "delete":
            raise LastOwner(alone)
        for organization, membership in memberships:
            if organization in alone:
                delete_locked(organization, actor=actor, using=using)
            else:
                remove_locked(organization, membership, actor=actor, using=using)
        user.delete()


def deactivate_user(user: Any) -> None:
    """Set the user inactive. Raises ``LastOwner`` where an organization would have no owner left who can sign in.

    Saving the user with ``is_active = False`` does the same. ``QuerySet.update(is_active=False)`` sends no signal
    that could be guarded: call this for each user instead.
    """
    guard_deactivation(user, using=database(user))
    user.is_active = False


def guard_deactivation(user: Any, *, using: str) -> None:
    """Write the user inactive in the database, unless that leaves an organization without an owner (``LastOwner``).

    Written here although the caller may be about to save: outside a transaction the locks end with this function,
    and two owners whose saves follow their checks would both pass.
    """
    rows = user_model()._base_manager.using(using).filter(pk=user.pk, is_active=True)
    if not rows.exists():
        return
    with transaction.atomic(using=using):
        organizations = lock_organizations_of(user, using=using)
        rows.update(is_active=False)
        _settle_all(organizations, memberships_of(user, using=using), using=using)


def end_memberships(user: Any, *, going: Any = (), using: str) -> None:
    """End the memberships of a user who is being deleted. Raises ``LastOwner``.

    ``going`` are the keys of organizations that are being deleted with the user. Within a transaction only.
    """
    organizations = lock_organizations_of(user, using=using)
    ending = [found for found in memberships_of(user, using=using) if found.organization_id not in going]
    ended = [copy.copy(found) for found in ending]
    for membership in ending:
        membership.delete(using=using)
    _settle_all(organizations, ended, using=using)
    for membership in ended:
        events.emit_member(events.MEMBER_REMOVED, membership, actor=None, using=using)


def _settle_all(organizations: Mapping[Any, Any], memberships: Sequence[Any], *, using: str) -> None:
    """What must hold in the organizations where these memberships were owners', or ``LastOwner`` that names all."""
    alone: list[Any] = []
    for membership in memberships:
        if membership.role == OWNER:
            try:
                settle_owners(organizations[membership.organization_id], using=using)
            except LastOwner as error:
                alone += error.organizations
    if alone:
        raise LastOwner(alone)


def _owns_alone(organization: Any, membership: Any, *, using: str) -> bool:
    others = active_members(organization.pk, OWNER, using=using).exclude(pk=membership.pk)
    return membership.role == OWNER and not others.exists()


def _promote_heir(organization: Any, user: Any, actor: Any, *, using: str) -> bool:
    for role in declared_roles():
        heir: Any = active_members(organization.pk, role, using=using).exclude(user=user.pk).first()
        if heir is not None:
            heir.role = OWNER
            heir.save(update_fields=["role"], using=using)
            events.emit_member(events.MEMBER_ROLE_CHANGED, heir, actor=actor, using=using, previous_role=role)
            return True
    return False
