"""Adding and removing members, changing their roles, and transferring ownership."""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.db.models import Model, Q, QuerySet
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save

from dovetail_core.transactions import retry_on_conflict
from dovetail_tenancy import events
from dovetail_tenancy.conf import OWNER, conf, membership_lookups, membership_path
from dovetail_tenancy.exceptions import AlreadyMember, Gone, LastOwner, OwnerCannotSignIn, UnknownRole
from dovetail_tenancy.isolation.scope import get_organization_model
from dovetail_tenancy.organizations.project_models import (
    Actor,
    Member,
    active_members,
    concrete_field,
    database_of,
    get_membership_model,
    has_owner_field,
    is_person,
    user_model,
)
from dovetail_tenancy.organizations.roles import authorize, call_hook, require_below_limit, require_permission
from dovetail_tenancy.services.organizations import lock_organization, save_organization_fields

_SIGNALS = (pre_save, post_save, pre_delete, post_delete)


class LockedMembers:
    """A locked organization and the memberships that a change reads: the changed one, the actor's and the owners'.

    Read by one query under the lock. ``changed`` selects the changed membership. Raise ``Gone`` if it does not exist.

    The owners are read if the changed member, ``user_id``, is the contact, who has to be replaced by one of them. No
    index finds the owners among the members, so other changes do not read them.
    """

    def __init__(
        self,
        organization_id: object,
        changed: Q,
        actor: Actor | None,
        *,
        user_id: object = None,
        with_users: bool = False,
        using: str,
    ) -> None:
        self.organization = lock_organization(organization_id, using=using)
        model: Any = get_membership_model()
        # Prefixed, because an annotation cannot have the name of a field of a project's membership model.
        kinds = {"tenancy_is_changed": changed}
        if is_person(actor):
            kinds["tenancy_is_actor"] = Q(**membership_lookups(user=actor.pk))
        self._has_owners = has_owner_field(type(self.organization)) and self.organization.owner_id == user_id
        if self._has_owners:
            is_owner = Q(**membership_lookups(role=OWNER))
            if concrete_field(user_model(), "is_active"):
                is_owner &= Q(**membership_lookups(user__is_active=True))
            kinds["tenancy_is_owner"] = is_owner
        rows = model._base_manager.using(using).filter(**membership_lookups(organization=self.organization.pk))
        rows = rows.filter(reduce(operator.or_, kinds.values())).annotate(**kinds).order_by("pk")
        self._rows: list[Any] = list(rows.select_related(membership_path("user")) if with_users else rows)
        self.actor: Any = next((row for row in self._rows if getattr(row, "tenancy_is_actor", False)), None)
        self.changed: Any = next((row for row in self._rows if row.tenancy_is_changed), None)
        if self.changed is None:
            raise Gone(str(model._meta.verbose_name))
        # For hooks and receivers of events, which would query it.
        setattr(self.changed, membership_path("organization"), self.organization)

    def authorize(self, actor: Actor | None, permission: str, *affected_roles: str) -> None:
        """Raise ``RoleNotAllowed`` as ``authorize()`` does."""
        if actor is not None:
            require_permission(None if self.actor is None else self.actor.role, permission, *affected_roles)

    def other_owner_ids(self, hook: str) -> list[Any] | None:
        """Return the users who own the organization besides the changed member and can sign in, oldest first.

        None if they were not read, or if the hook, a receiver of Django's signals or a model of the project's own, by
        its methods, cascades or triggers, may have changed them since.
        """
        model = get_membership_model()
        is_own = model.__module__ != "dovetail_tenancy.models"
        hooked = getattr(conf, hook) is not None or any(signal.has_listeners(model) for signal in _SIGNALS)
        if is_own or hooked or not self._has_owners:
            return None
        return [row.user_id for row in self._rows if row.tenancy_is_owner and row is not self.changed]


@retry_on_conflict
def add_member(*, organization: Model, user: AbstractBaseUser, role: str, actor: Actor | None = None) -> Any:
    """Make the user a member and return the membership.

    Raise ``AlreadyMember``, ``LimitReached``, ``UnknownRole`` or ``RoleNotAllowed``.
    """
    require_role(role)
    using = database_of(organization)
    with without_duplicate(organization, user, using=using), transaction.atomic(using=using):
        lock_organization(organization.pk, using=using)
        authorize(actor, organization.pk, "members.invite", role, using=using)
        return join(organization, user, role, actor=actor, using=using)


@contextmanager
def without_duplicate(organization: Model, user: AbstractBaseUser, *, using: str) -> Iterator[None]:
    """Raise ``AlreadyMember`` if the transaction failed because the user has become a member.

    The lock prevents it, except in code outside the services that writes memberships as well.
    """
    try:
        yield
    except IntegrityError:
        if _memberships(organization, user, using=using).exists():
            raise AlreadyMember from None
        raise


def join(
    organization: Model,
    user: AbstractBaseUser,
    role: str,
    *,
    actor: Actor | None,
    is_member: bool | None = None,
    using: str,
) -> Any:
    """Create the membership in a locked organization and return it. Raise ``AlreadyMember`` or ``LimitReached``.

    ``is_member`` is whether the user is a member, if the caller has read it under the lock.
    """
    call_hook("BEFORE_ADD_MEMBER", organization=organization, user=user, role=role, actor=actor)
    memberships: QuerySet[Any] = get_membership_model()._base_manager.using(using)
    of_organization = memberships.filter(**membership_lookups(organization=organization.pk))
    require_below_limit("MAX_MEMBERS", of_organization.count, organization=organization)
    if _memberships(organization, user, using=using).exists() if is_member is None else is_member:
        raise AlreadyMember
    fields = membership_lookups(organization=organization, user=user, role=role)
    membership: Any = get_membership_model()(**fields)
    membership.save(using=using, force_insert=True)
    events.emit_member(events.MEMBER_ADDED, membership, actor=actor, using=using)
    return membership


@retry_on_conflict
def change_role(*, membership: Member, role: str, actor: Actor | None = None) -> Any:
    """Give the member another role and return the updated membership.

    Raise ``LastOwner``, ``UnknownRole`` or ``RoleNotAllowed``, and ``Gone`` if the member has left.
    """
    require_role(role)
    using = database_of(membership)
    with transaction.atomic(using=using):
        members = _lock_membership(membership, actor, using=using)
        current = members.changed
        members.authorize(actor, "members.change_role", current.role, role)
        call_hook("BEFORE_CHANGE_ROLE", membership=current, role=role, actor=actor)
        previous, current.role = current.role, role
        if role == previous:
            return current
        current.save(update_fields=[membership_path("role")], using=using)
        if previous == OWNER:
            ensure_owner(members.organization, members.other_owner_ids("BEFORE_CHANGE_ROLE"), using=using)
        events.emit_member(events.MEMBER_ROLE_CHANGED, current, actor=actor, using=using, previous_role=previous)
    return current


@retry_on_conflict
def remove_member(*, membership: Member, actor: Actor | None = None) -> None:
    """End a membership. Raise ``LastOwner`` or ``RoleNotAllowed``, and ``Gone`` if the member has left."""
    using = database_of(membership)
    with transaction.atomic(using=using):
        members = _lock_membership(membership, actor, using=using)
        members.authorize(actor, "members.remove", members.changed.role)
        _remove(members, actor=actor, using=using)


@retry_on_conflict
def leave_organization(*, organization: Model, user: Actor) -> None:
    """End the user's own membership. Raise ``LastOwner``, and ``Gone`` if the user is not a member."""
    using = database_of(organization)
    with transaction.atomic(using=using):
        changed = Q(**membership_lookups(user=user.pk))
        members = LockedMembers(organization.pk, changed, None, user_id=user.pk, using=using)
        _remove(members, actor=user, using=using)


@retry_on_conflict
def transfer_ownership(*, organization: Model, to: AbstractBaseUser, actor: Actor | None = None) -> Any:
    """Make the member ``to`` an owner and the organization's contact. Return the updated membership.

    The previous owner (``actor``, or without one the contact) gets the role below owner; other owners stay owners.
    Raise ``RoleNotAllowed`` or ``OwnerCannotSignIn``, and ``Gone`` if ``to`` is not a member.
    """
    using = database_of(organization)
    with transaction.atomic(using=using):
        is_new_owner = Q(**membership_lookups(user=to.pk))
        members = LockedMembers(organization.pk, is_new_owner, actor, with_users=True, using=using)
        locked, new_owner = members.organization, members.changed
        members.authorize(actor, "organization.transfer", OWNER)
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
            # Read after the writes: a hook, a receiver or a model's save() may have demoted or removed the owner.
            lookups = membership_lookups(organization=locked.pk, user=previous_owner_id, role=OWNER)
            previous_owner: Any = get_membership_model()._base_manager.using(using).filter(**lookups).first()
            below = role_below_owner()
            if previous_owner is not None and below is not None:
                setattr(previous_owner, membership_path("organization"), locked)
                set_role(previous_owner, below, actor=actor, using=using)
        user_id = str(new_owner.user_id)
        events.emit_organization(events.OWNERSHIP_TRANSFERRED, locked, actor=actor, using=using, user_id=user_id)
    return new_owner


def _lock_membership(membership: Member, actor: Actor | None, *, using: str) -> LockedMembers:
    key, user_id = membership.organization_id, membership.user_id
    return LockedMembers(key, Q(pk=membership.pk), actor, user_id=user_id, using=using)


def _memberships(organization: Model, user: Model, *, using: str) -> QuerySet[Any]:
    lookups = membership_lookups(organization=organization.pk, user=user.pk)
    return get_membership_model()._base_manager.using(using).filter(**lookups)


def role_below_owner() -> str | None:
    """Return the role of an owner who transferred the ownership, or None if ``TENANCY_ROLES`` has no other."""
    return next((role for role in conf.ROLES if role != OWNER), None)


def ensure_owner(organization: Any, owner_ids: list[Any] | None = None, *, using: str) -> None:
    """Raise ``LastOwner`` unless an owner can sign in, and make one of these owners the contact.

    Call it after an owner was removed. The organization must be locked, and ``owner_ids``, if the caller knows these
    owners, read since.
    """
    if owner_ids is None:
        owners = active_members(organization.pk, OWNER, using=using)
        owner_ids = list(owners.values_list(membership_path("user_id"), flat=True))
    if not owner_ids:
        raise LastOwner([organization])
    if has_owner_field(get_organization_model()) and organization.owner_id not in owner_ids:
        organization.owner_id = owner_ids[0]
        save_organization_fields(organization, ["owner"], using=using)


def _remove(members: LockedMembers, *, actor: Actor | None, using: str) -> None:
    membership = members.changed
    call_hook("BEFORE_REMOVE_MEMBER", membership=membership, actor=actor)
    # Deletion removes the key from the instance, and the event needs it.
    removed: Any = copy.copy(membership)
    membership.delete(using=using)
    if removed.role == OWNER:
        ensure_owner(members.organization, members.other_owner_ids("BEFORE_REMOVE_MEMBER"), using=using)
    events.emit_member(events.MEMBER_REMOVED, removed, actor=actor, using=using)


def set_role(membership: Member, role: str, *, actor: Actor | None, using: str) -> None:
    previous, membership.role = membership.role, role
    if previous != role:
        membership.save(update_fields=[membership_path("role")], using=using)
        events.emit_member(events.MEMBER_ROLE_CHANGED, membership, actor=actor, using=using, previous_role=previous)


def require_role(role: object) -> None:
    if role not in conf.ROLES:
        raise UnknownRole(role, conf.ROLES)
