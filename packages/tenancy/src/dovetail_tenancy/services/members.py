"""Who belongs to an organization, in which role, and to whom it is handed over."""

from __future__ import annotations

import copy
from typing import Any

from django.db import transaction

from dovetail_tenancy import events, get_membership_model, get_organization_model
from dovetail_tenancy.exceptions import AlreadyMember, OwnerCannotSignIn, UnknownRole
from dovetail_tenancy.organizations import hooks
from dovetail_tenancy.organizations.roles import OWNER, declared_roles, is_person
from dovetail_tenancy.services.locks import (
    authorize,
    database,
    has_owner,
    lock_membership,
    lock_organization,
    one_row,
    save_fields,
    settle_owners,
)


def add_member(*, organization: Any, user: Any, role: str, actor: Any = None) -> Any:
    """Make the user a member. Raises ``AlreadyMember``, ``LimitReached``, ``UnknownRole``, ``RoleNotAllowed``."""
    require_role(role)
    using = database(organization)
    with transaction.atomic(using=using):
        lock_organization(organization.pk, using=using)
        authorize(actor, organization.pk, "members.invite", role, using=using)
        return join(organization, user, role, actor=actor, using=using)


def join(organization: Any, user: Any, role: str, *, actor: Any, using: str) -> Any:
    """The new membership, under the organization's lock. Raises ``AlreadyMember``, ``LimitReached``."""
    hooks.ask("BEFORE_ADD_MEMBER", organization=organization, user=user, role=role, actor=actor)
    members = get_membership_model()._base_manager.using(using)
    in_it = members.filter(organization=organization.pk)
    hooks.require_room("MAX_MEMBERS", in_it.count, organization=organization)
    # get_or_create, although the lock is ours: code that knows no services may write memberships too.
    membership, created = members.get_or_create(organization=organization, user=user, defaults={"role": role})
    if not created:
        raise AlreadyMember
    events.emit_member(events.MEMBER_ADDED, membership, actor=actor, using=using)
    return membership


def change_role(*, membership: Any, role: str, actor: Any = None) -> Any:
    """Give the member another role; the membership as it is afterwards.

    Raises ``LastOwner``, ``UnknownRole``, ``RoleNotAllowed``, and ``Gone`` for one who left.
    """
    require_role(role)
    using = database(membership)
    with transaction.atomic(using=using):
        organization, current = lock_membership(membership, using=using)
        authorize(actor, organization.pk, "members.change_role", current.role, role, using=using)
        hooks.ask("BEFORE_CHANGE_ROLE", membership=current, role=role, actor=actor)
        previous, current.role = current.role, role
        if role == previous:
            return current
        current.save(update_fields=["role"], using=using)
        if previous == OWNER:
            settle_owners(organization, using=using)
        events.emit_member(events.MEMBER_ROLE_CHANGED, current, actor=actor, using=using, previous_role=previous)
    return current


def remove_member(*, membership: Any, actor: Any = None) -> None:
    """End a membership. Raises ``LastOwner``, ``RoleNotAllowed``, and ``Gone`` for one who left."""
    using = database(membership)
    with transaction.atomic(using=using):
        organization, current = lock_membership(membership, using=using)
        authorize(actor, organization.pk, "members.remove", current.role, using=using)
        hooks.ask("BEFORE_REMOVE_MEMBER", membership=current, actor=actor)
        remove_locked(organization, current, actor=actor, using=using)


def leave_organization(*, organization: Any, user: Any) -> None:
    """End the user's own membership. Raises ``LastOwner``, and ``Gone`` for who is no member."""
    using = database(organization)
    with transaction.atomic(using=using):
        locked = lock_organization(organization.pk, using=using)
        membership = member_row(locked, user, using=using)
        hooks.ask("BEFORE_REMOVE_MEMBER", membership=membership, actor=user)
        remove_locked(locked, membership, actor=user, using=using)


def transfer_ownership(*, organization: Any, to: Any, actor: Any = None) -> Any:
    """Make the member ``to`` an owner and the organization's contact; the membership as it is afterwards.

    Who hands over, ``actor`` or else the contact so far, gets the role below owner; other owners stay owners. Raises
    ``RoleNotAllowed``, ``OwnerCannotSignIn``, and ``Gone`` where ``to`` is no member.
    """
    using = database(organization)
    with transaction.atomic(using=using):
        locked = lock_organization(organization.pk, using=using)
        authorize(actor, locked.pk, "organization.transfer", OWNER, using=using)
        heir = member_row(locked, to, using=using)
        hooks.ask("BEFORE_CHANGE_ROLE", membership=heir, role=OWNER, actor=actor)
        # Asked of the locked row's user, not of the caller's instance, which may be old.
        if not is_person(heir.user):
            raise OwnerCannotSignIn
        contact = has_owner(get_organization_model())
        giver = actor.pk if actor is not None else locked.owner_id if contact else None
        _set_role(heir, OWNER, actor=actor, using=using)
        if contact and locked.owner_id != heir.user_id:
            locked.owner_id = heir.user_id
            save_fields(locked, ["owner"], using=using)
        if giver is not None and giver != heir.user_id:
            _step_down(locked, giver, actor=actor, using=using)
        events.emit_organization(
            events.OWNERSHIP_TRANSFERRED, locked, actor=actor, using=using, user_id=str(heir.user_id)
        )
    return heir


def member_row(organization: Any, user: Any, *, using: str) -> Any:
    """The user's membership of the organization. Raises ``Gone``."""
    rows = get_membership_model()._base_manager.using(using).filter(organization=organization.pk, user=user.pk)
    return one_row(rows)


def _step_down(organization: Any, user_id: Any, *, actor: Any, using: str) -> None:
    below = next((role for role in declared_roles() if role != OWNER), None)
    rows = get_membership_model()._base_manager.using(using)
    giver: Any = rows.filter(organization=organization.pk, user=user_id, role=OWNER).first()
    if giver is not None and below is not None:
        _set_role(giver, below, actor=actor, using=using)


def _set_role(membership: Any, role: str, *, actor: Any, using: str) -> None:
    previous, membership.role = membership.role, role
    if previous != role:
        membership.save(update_fields=["role"], using=using)
        events.emit_member(events.MEMBER_ROLE_CHANGED, membership, actor=actor, using=using, previous_role=previous)


def remove_locked(organization: Any, membership: Any, *, actor: Any, using: str) -> None:
    removed = copy.copy(membership)
    membership.delete(using=using)
    if removed.role == OWNER:
        settle_owners(organization, using=using)
    events.emit_member(events.MEMBER_REMOVED, removed, actor=actor, using=using)


def require_role(role: object) -> None:
    if role not in declared_roles():
        raise UnknownRole(role, declared_roles())
