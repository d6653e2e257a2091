"""Adding and removing members, changing their roles, and transferring ownership."""

from __future__ import annotations

import copy
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.db.models import Model, QuerySet

from dovetail_tenancy import events
from dovetail_tenancy.conf import OWNER, conf
from dovetail_tenancy.exceptions import AlreadyMember, LastOwner, OwnerCannotSignIn, UnknownRole
from dovetail_tenancy.isolation.organization_model import get_organization_model
from dovetail_tenancy.organizations.project_models import (
    Actor,
    Member,
    active_members,
    database_of,
    get_membership_model,
    has_owner_field,
    is_person,
)
from dovetail_tenancy.organizations.roles import authorize, call_hook, require_below_limit
from dovetail_tenancy.services.organizations import (
    get_row,
    lock_membership,
    lock_organization,
    save_organization_fields,
)


def add_member(*, organization: Model, user: AbstractBaseUser, role: str, actor: Actor | None = None) -> Any:
    """Make the user a member and return the membership.

    Raise ``AlreadyMember``, ``LimitReached``, ``UnknownRole`` or ``RoleNotAllowed``.
    """
    require_role(role)
    using = database_of(organization)
    with transaction.atomic(using=using):
        lock_organization(organization.pk, using=using)
        authorize(actor, organization.pk, "members.invite", role, using=using)
        return join(organization, user, role, actor=actor, using=using)


def join(organization: Model, user: AbstractBaseUser, role: str, *, actor: Actor | None, using: str) -> Any:
    """Create the membership in a locked organization and return it. Raise ``AlreadyMember`` or ``LimitReached``."""
    call_hook("BEFORE_ADD_MEMBER", organization=organization, user=user, role=role, actor=actor)
    memberships: QuerySet[Any] = get_membership_model()._base_manager.using(using)
    of_organization = memberships.filter(organization=organization.pk)
    require_below_limit("MAX_MEMBERS", of_organization.count, organization=organization)
    # get_or_create despite the lock, because code outside the services may write memberships as well.
    membership, created = memberships.get_or_create(organization=organization, user=user, defaults={"role": role})
    if not created:
        raise AlreadyMember
    events.emit_member(events.MEMBER_ADDED, membership, actor=actor, using=using)
    return membership


def change_role(*, membership: Member, role: str, actor: Actor | None = None) -> Any:
    """Give the member another role and return the updated membership.

    Raise ``LastOwner``, ``UnknownRole`` or ``RoleNotAllowed``, and ``Gone`` if the member has left.
    """
    require_role(role)
    using = database_of(membership)
    with transaction.atomic(using=using):
        organization, current = lock_membership(membership, using=using)
        authorize(actor, organization.pk, "members.change_role", current.role, role, using=using)
        call_hook("BEFORE_CHANGE_ROLE", membership=current, role=role, actor=actor)
        previous, current.role = current.role, role
        if role == previous:
            return current
        current.save(update_fields=["role"], using=using)
        if previous == OWNER:
            ensure_owner(organization, using=using)
        events.emit_member(events.MEMBER_ROLE_CHANGED, current, actor=actor, using=using, previous_role=previous)
    return current


def remove_member(*, membership: Member, actor: Actor | None = None) -> None:
    """End a membership. Raise ``LastOwner`` or ``RoleNotAllowed``, and ``Gone`` if the member has left."""
    using = database_of(membership)
    with transaction.atomic(using=using):
        organization, current = lock_membership(membership, using=using)
        authorize(actor, organization.pk, "members.remove", current.role, using=using)
        call_hook("BEFORE_REMOVE_MEMBER", membership=current, actor=actor)
        remove_locked(organization, current, actor=actor, using=using)


def leave_organization(*, organization: Model, user: Actor) -> None:
    """End the user's own membership. Raise ``LastOwner``, and ``Gone`` if the user is not a member."""
    using = database_of(organization)
    with transaction.atomic(using=using):
        locked = lock_organization(organization.pk, using=using)
        membership = get_membership(locked, user, using=using)
        call_hook("BEFORE_REMOVE_MEMBER", membership=membership, actor=user)
        remove_locked(locked, membership, actor=user, using=using)


def transfer_ownership(*, organization: Model, to: AbstractBaseUser, actor: Actor | None = None) -> Any:
    """Make the member ``to`` an owner and the organization's contact. Return the updated membership.

    The previous owner (``actor``, or without one the contact) gets the role below owner; other owners stay owners.
    Raise ``RoleNotAllowed`` or ``OwnerCannotSignIn``, and ``Gone`` if ``to`` is not a member.
    """
    using = database_of(organization)
    with transaction.atomic(using=using):
        locked = lock_organization(organization.pk, using=using)
        authorize(actor, locked.pk, "organization.transfer", OWNER, using=using)
        new_owner = get_membership(locked, to, using=using)
        call_hook("BEFORE_CHANGE_ROLE", membership=new_owner, role=OWNER, actor=actor)
        # The locked row's user, because the caller's instance may be out of date.
        if not is_person(new_owner.user):
            raise OwnerCannotSignIn
        has_contact = has_owner_field(get_organization_model())
        previous_owner_id = actor.pk if actor is not None else locked.owner_id if has_contact else None
        set_role(new_owner, OWNER, actor=actor, using=using)
        if has_contact and locked.owner_id != new_owner.user_id:
            locked.owner_id = new_owner.user_id
            save_organization_fields(locked, ["owner"], using=using)
        if previous_owner_id is not None and previous_owner_id != new_owner.user_id:
            rows = get_membership_model()._base_manager.using(using)
            previous_owner: Any = rows.filter(organization=locked.pk, user=previous_owner_id, role=OWNER).first()
            below = next((role for role in conf.ROLES if role != OWNER), None)
            if previous_owner is not None and below is not None:
                set_role(previous_owner, below, actor=actor, using=using)
        user_id = str(new_owner.user_id)
        events.emit_organization(events.OWNERSHIP_TRANSFERRED, locked, actor=actor, using=using, user_id=user_id)
    return new_owner


def get_membership(organization: Model, user: Actor, *, using: str) -> Any:
    rows = get_membership_model()._base_manager.using(using).filter(organization=organization.pk, user=user.pk)
    return get_row(rows)


def ensure_owner(organization: Any, *, using: str) -> None:
    """Raise ``LastOwner`` unless an owner can sign in, and make one of these owners the contact.

    Call it after an owner was removed. The organization must be locked.
    """
    owner_ids = list(active_members(organization.pk, OWNER, using=using).values_list("user_id", flat=True))
    if not owner_ids:
        raise LastOwner([organization])
    if has_owner_field(get_organization_model()) and organization.owner_id not in owner_ids:
        organization.owner_id = owner_ids[0]
        save_organization_fields(organization, ["owner"], using=using)


def remove_locked(organization: Model, membership: Model, *, actor: Actor | None, using: str) -> None:
    # Deletion removes the key from the instance, and the event needs it.
    removed: Any = copy.copy(membership)
    membership.delete(using=using)
    if removed.role == OWNER:
        ensure_owner(organization, using=using)
    events.emit_member(events.MEMBER_REMOVED, removed, actor=actor, using=using)


def set_role(membership: Member, role: str, *, actor: Actor | None, using: str) -> None:
    previous, membership.role = membership.role, role
    if previous != role:
        membership.save(update_fields=["role"], using=using)
        events.emit_member(events.MEMBER_ROLE_CHANGED, membership, actor=actor, using=using, previous_role=previous)


def require_role(role: object) -> None:
    if role not in conf.ROLES:
        raise UnknownRole(role, conf.ROLES)
