"""Adding and removing members, changing their roles, and transferring ownership."""

from __future__ import annotations

import copy
from typing import Any

from django.db import transaction

from dovetail_tenancy import events
from dovetail_tenancy.exceptions import AlreadyMember, LastOwner, OwnerCannotSignIn, UnknownRole
from dovetail_tenancy.isolation.organization_model import get_organization_model
from dovetail_tenancy.organizations.hooks import call_hook, require_below_limit
from dovetail_tenancy.organizations.memberships import active_members
from dovetail_tenancy.organizations.project_models import database_of, get_membership_model, has_owner_field, is_person
from dovetail_tenancy.organizations.role_table import OWNER
from dovetail_tenancy.organizations.roles import authorize, declared_roles
from dovetail_tenancy.services.locks import get_row, lock_membership, lock_organization
from dovetail_tenancy.services.organizations import save_organization_fields


def add_member(*, organization: Any, user: Any, role: str, actor: Any = None) -> Any:
    """Make the user a member and return the membership.

    Raises ``AlreadyMember``, ``LimitReached``, ``UnknownRole``, ``RoleNotAllowed``.
    """
    require_role(role)
    using = database_of(organization)
    with transaction.atomic(using=using):
        lock_organization(organization.pk, using=using)
        authorize(actor, organization.pk, "members.invite", role, using=using)
        return join(organization, user, role, actor=actor, using=using)


def join(organization: Any, user: Any, role: str, *, actor: Any, using: str) -> Any:
    """Create and return the membership. The organization must be locked. Raises ``AlreadyMember``, ``LimitReached``."""
    call_hook("BEFORE_ADD_MEMBER", organization=organization, user=user, role=role, actor=actor)
    memberships = get_membership_model()._base_manager.using(using)
    of_organization = memberships.filter(organization=organization.pk)
    require_below_limit("MAX_MEMBERS", of_organization.count, organization=organization)
    # get_or_create despite the lock: code that does not use the services may write memberships as well.
    membership, created = memberships.get_or_create(organization=organization, user=user, defaults={"role": role})
    if not created:
        raise AlreadyMember
    events.emit_member(events.MEMBER_ADDED, membership, actor=actor, using=using)
    return membership


def change_role(*, membership: Any, role: str, actor: Any = None) -> Any:
    """Give the member another role and return the membership as it is afterwards.

    Raises ``LastOwner``, ``UnknownRole``, ``RoleNotAllowed``, and ``Gone`` if the member has left.
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


def remove_member(*, membership: Any, actor: Any = None) -> None:
    """End a membership. Raises ``LastOwner``, ``RoleNotAllowed``, and ``Gone`` if the member has left."""
    using = database_of(membership)
    with transaction.atomic(using=using):
        organization, current = lock_membership(membership, using=using)
        authorize(actor, organization.pk, "members.remove", current.role, using=using)
        call_hook("BEFORE_REMOVE_MEMBER", membership=current, actor=actor)
        remove_locked(organization, current, actor=actor, using=using)


def leave_organization(*, organization: Any, user: Any) -> None:
    """End the user's own membership. Raises ``LastOwner``, and ``Gone`` if the user is not a member."""
    using = database_of(organization)
    with transaction.atomic(using=using):
        locked = lock_organization(organization.pk, using=using)
        membership = get_membership(locked, user, using=using)
        call_hook("BEFORE_REMOVE_MEMBER", membership=membership, actor=user)
        remove_locked(locked, membership, actor=user, using=using)


def transfer_ownership(*, organization: Any, to: Any, actor: Any = None) -> Any:
    """Make the member ``to`` an owner and the organization's contact; return that membership as it is afterwards.

    The previous owner (``actor``, or without one the contact) gets the role below owner; other owners stay owners.
    Raises ``RoleNotAllowed``, ``OwnerCannotSignIn``, and ``Gone`` if ``to`` is not a member.
    """
    using = database_of(organization)
    with transaction.atomic(using=using):
        locked = lock_organization(organization.pk, using=using)
        authorize(actor, locked.pk, "organization.transfer", OWNER, using=using)
        heir = get_membership(locked, to, using=using)
        call_hook("BEFORE_CHANGE_ROLE", membership=heir, role=OWNER, actor=actor)
        # The locked row's user, because the caller's instance may be out of date.
        if not is_person(heir.user):
            raise OwnerCannotSignIn
        has_contact = has_owner_field(get_organization_model())
        previous_owner_id = actor.pk if actor is not None else locked.owner_id if has_contact else None
        _set_role(heir, OWNER, actor=actor, using=using)
        if has_contact and locked.owner_id != heir.user_id:
            locked.owner_id = heir.user_id
            save_organization_fields(locked, ["owner"], using=using)
        if previous_owner_id is not None and previous_owner_id != heir.user_id:
            _step_down(locked, previous_owner_id, actor=actor, using=using)
        events.emit_organization(
            events.OWNERSHIP_TRANSFERRED, locked, actor=actor, using=using, user_id=str(heir.user_id)
        )
    return heir


def get_membership(organization: Any, user: Any, *, using: str) -> Any:
    """Return the user's membership of the organization. Raises ``Gone``."""
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


def remove_locked(organization: Any, membership: Any, *, actor: Any, using: str) -> None:
    """Delete the membership. The organization must be locked. Raises ``LastOwner``."""
    removed = copy.copy(membership)
    membership.delete(using=using)
    if removed.role == OWNER:
        ensure_owner(organization, using=using)
    events.emit_member(events.MEMBER_REMOVED, removed, actor=actor, using=using)


def require_role(role: object) -> None:
    """Raise ``UnknownRole`` unless ``TENANCY_ROLES`` declares the role."""
    if role not in declared_roles():
        raise UnknownRole(role, declared_roles())


def _step_down(organization: Any, user_id: Any, *, actor: Any, using: str) -> None:
    below = next((role for role in declared_roles() if role != OWNER), None)
    rows = get_membership_model()._base_manager.using(using)
    membership: Any = rows.filter(organization=organization.pk, user=user_id, role=OWNER).first()
    if membership is not None and below is not None:
        _set_role(membership, below, actor=actor, using=using)


def _set_role(membership: Any, role: str, *, actor: Any, using: str) -> None:
    previous, membership.role = membership.role, role
    if previous != role:
        membership.save(update_fields=["role"], using=using)
        events.emit_member(events.MEMBER_ROLE_CHANGED, membership, actor=actor, using=using, previous_role=previous)
