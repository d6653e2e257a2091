"""Accounts that are created by an invitation, deactivated or deleted, and the organizations that they own."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from django.db import router, transaction

from dovetail_core.accounts import create_passwordless_account
from dovetail_tenancy import events
from dovetail_tenancy.exceptions import LastOwner
from dovetail_tenancy.organizations.memberships import active_members, memberships_of
from dovetail_tenancy.organizations.project_models import (
    database_of,
    get_membership_model,
    user_model,
)
from dovetail_tenancy.organizations.role_table import OWNER
from dovetail_tenancy.organizations.roles import declared_roles
from dovetail_tenancy.services.locks import lock_organizations_of
from dovetail_tenancy.services.members import ensure_owner, remove_locked
from dovetail_tenancy.services.organizations import delete_locked


def create_user(*, email: str, invitation: Any) -> Any:
    """Create and return an account for an invited address; the default of ``TENANCY_INVITATION_CREATE_USER``.

    The address is also its user name, and it has no usable password. Raises ``ValidationError`` if the user model
    needs more than that.
    """
    return create_passwordless_account(email, user_model())


def delete_user(user: Any, *, on_owned: Literal["refuse", "transfer", "delete"] = "refuse", actor: Any = None) -> None:
    """Delete the user and end every membership.

    ``on_owned`` decides about organizations that would have no owner left who can sign in: ``"refuse"`` raises
    ``LastOwner``, which names them; ``"transfer"`` makes the longest-standing of the highest-ranking active members
    an owner, and raises ``LastOwner`` if there is none; ``"delete"`` deletes those organizations.
    """
    if on_owned not in ("refuse", "transfer", "delete"):
        raise ValueError(f"on_owned is {on_owned!r}; it takes 'refuse', 'transfer' or 'delete'.")
    using = router.db_for_write(get_membership_model())
    with transaction.atomic(using=using):
        organizations = lock_organizations_of(user, using=using)
        memberships = [(organizations[row.organization_id], row) for row in memberships_of(user, using=using)]
        ownerless = [
            organization for organization, row in memberships if _is_sole_owner(organization, row, using=using)
        ]
        if on_owned == "transfer":
            ownerless = [
                organization for organization in ownerless if not _promote_heir(organization, user, actor, using=using)
            ]
        if ownerless and on_owned != "delete":
            raise LastOwner(ownerless)
        for organization, membership in memberships:
            if organization in ownerless:
                delete_locked(organization, actor=actor, using=using)
            else:
                remove_locked(organization, membership, actor=actor, using=using)
        user.delete()


def deactivate_user(user: Any) -> None:
    """Set the user inactive. Raises ``LastOwner`` if an organization would have no owner left who can sign in.

    Saving the user with ``is_active = False`` does the same. ``QuerySet.update(is_active=False)`` sends no signal, so
    this rule cannot apply to it: call this function for each user instead.
    """
    write_inactive(user, using=database_of(user))
    user.is_active = False


def write_inactive(user: Any, *, using: str) -> None:
    """Write ``is_active = False`` to the user's row. Raises ``LastOwner``, and then writes nothing.

    It writes even if the caller is about to save the user: outside a transaction the locks end with this function, and
    two owners who are saved after their checks would both pass.
    """
    rows = user_model()._base_manager.using(using).filter(pk=user.pk, is_active=True)
    if not rows.exists():
        return
    with transaction.atomic(using=using):
        organizations = lock_organizations_of(user, using=using)
        rows.update(is_active=False)
        _ensure_owners(organizations, memberships_of(user, using=using), using=using)


def end_memberships(user: Any, *, except_in: Any = (), using: str) -> None:
    """End the memberships of a user who is being deleted. Raises ``LastOwner``.

    ``except_in`` holds the keys of organizations that are deleted together with the user. Call it in a transaction.
    """
    organizations = lock_organizations_of(user, using=using)
    memberships = [row for row in memberships_of(user, using=using) if row.organization_id not in except_in]
    # Deletion removes the key from an instance, and the events need it.
    ended = [copy.copy(row) for row in memberships]
    for membership in memberships:
        membership.delete(using=using)
    _ensure_owners(organizations, ended, using=using)
    for membership in ended:
        events.emit_member(events.MEMBER_REMOVED, membership, actor=None, using=using)


def _ensure_owners(organizations: Mapping[Any, Any], memberships: Sequence[Any], *, using: str) -> None:
    """Call ``ensure_owner`` where these were owners' memberships; raise one ``LastOwner`` that names all failures."""
    ownerless: list[Any] = []
    for membership in memberships:
        if membership.role == OWNER:
            try:
                ensure_owner(organizations[membership.organization_id], using=using)
            except LastOwner as error:
                ownerless += error.organizations
    if ownerless:
        raise LastOwner(ownerless)


def _is_sole_owner(organization: Any, membership: Any, *, using: str) -> bool:
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
