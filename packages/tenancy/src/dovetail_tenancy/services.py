"""Every rule that writes organizations and memberships.

Each function is atomic on the database that the organization lives on. ``actor`` is the user whose own role bounds the
change and who stands in the event; without one the system acts, unbounded. What is forbidden raises a
``dovetail_tenancy.exceptions.TenancyError`` and changes nothing.
"""

from __future__ import annotations

import contextlib
import copy
import secrets
from typing import Any, Literal

from django.db import IntegrityError, router, transaction
from django.db.models import Model
from django.utils.text import slugify

from dovetail_tenancy import events, get_membership_model, get_organization_model
from dovetail_tenancy.exceptions import AlreadyMember, Gone, LastOwner, OwnerCannotSignIn, SlugTaken, UnknownRole
from dovetail_tenancy.owners import (
    active_members,
    authorize,
    field,
    has_owner,
    lock_organization,
    lock_user,
    one_row,
    save_fields,
    settle_owners,
)
from dovetail_tenancy.roles import OWNER, declared_roles, is_person

# No look-alikes, no vowels: a random suffix must not spell a word.
_SUFFIX_ALPHABET = "bcdfghjkmnpqrstvwxz23456789"
_SLUG_ATTEMPTS = 8


def create_organization(*, name: str, owner: Any, slug: str | None = None, **fields: Any) -> Any:
    """Create an organization together with its owner's membership.

    Without ``slug`` one is made from the name, with a random suffix where it is taken. ``fields`` are further fields
    of a project's own organization model. Raises ``SlugTaken`` and ``OwnerCannotSignIn``.
    """
    if not is_person(owner):
        raise OwnerCannotSignIn
    model = get_organization_model()
    using = router.db_for_write(model)
    if has_owner(model):
        fields["owner"] = owner
    with transaction.atomic(using=using):
        organization = _insert(model(name=name, **fields), slug, using=using)
        membership = get_membership_model()(organization=organization, user=owner, role=OWNER)
        membership.save(using=using, force_insert=True)
        events.emit_organization(events.ORGANIZATION_CREATED, organization, actor=owner, using=using)
        events.emit_member(events.MEMBER_ADDED, membership, actor=owner, using=using)
    return organization


def update_organization(*, organization: Any, actor: Any = None, **changes: Any) -> Any:
    """Write the given fields, and no others, to the organization. Raises ``SlugTaken``.

    The owner is not one of them: who owns an organization is a matter of roles.
    """
    if has_owner(get_organization_model()) and changes.keys() & {"owner", "owner_id"}:
        raise TypeError("update_organization() does not take the owner. Make the user an owner with change_role().")
    using = _database(organization)
    with transaction.atomic(using=using):
        if actor is not None:
            authorize(actor, organization.pk, "organization.update", using=using)
        if not changes:
            return organization
        for name, value in changes.items():
            setattr(organization, name, value)
        try:
            with transaction.atomic(using=using):
                save_fields(organization, list(changes), using=using)
        except IntegrityError:
            _refuse_taken_slug(organization, changes.get("slug"), using=using)
            raise
        events.emit_organization(
            events.ORGANIZATION_UPDATED, organization, actor=actor, using=using, fields=sorted(changes)
        )
    return organization


def delete_organization(*, organization: Any, actor: Any = None) -> None:
    """Delete the organization, its memberships, and all rows that belong to it."""
    using = _database(organization)
    with transaction.atomic(using=using):
        locked = lock_organization(organization.pk, using=using)
        authorize(actor, locked.pk, "organization.delete", using=using)
        _delete_locked(locked, actor=actor, using=using)


def add_member(*, organization: Any, user: Any, role: str, actor: Any = None) -> Any:
    """Make the user a member. Raises ``AlreadyMember``, ``UnknownRole``, ``RoleNotAllowed``."""
    _require_role(role)
    using = _database(organization)
    with transaction.atomic(using=using):
        lock_organization(organization.pk, using=using)
        authorize(actor, organization.pk, "members.invite", role, using=using)
        # get_or_create, although the lock is ours: code that knows no services may write memberships too.
        membership, created = (
            get_membership_model()
            ._base_manager.using(using)
            .get_or_create(organization=organization, user=user, defaults={"role": role})
        )
        if not created:
            raise AlreadyMember
        events.emit_member(events.MEMBER_ADDED, membership, actor=actor, using=using)
    return membership


def change_role(*, membership: Any, role: str, actor: Any = None) -> Any:
    """Give the member another role; the membership as it is afterwards.

    Raises ``LastOwner``, ``UnknownRole``, ``RoleNotAllowed``, and ``Gone`` for one who left.
    """
    _require_role(role)
    using = _database(membership)
    with transaction.atomic(using=using):
        organization, current = _lock_membership(membership, using=using)
        authorize(actor, organization.pk, "members.change_role", current.role, role, using=using)
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
    using = _database(membership)
    with transaction.atomic(using=using):
        organization, current = _lock_membership(membership, using=using)
        authorize(actor, organization.pk, "members.remove", current.role, using=using)
        _remove_locked(organization, current, actor=actor, using=using)


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
        organizations = _lock_organizations_of(user, using=using)
        memberships = [(organizations[found.organization_id], found) for found in _memberships(user, using=using)]
        alone = [organization for organization, found in memberships if _owns_alone(organization, found, using=using)]
        if on_owned == "transfer":
            alone = [
                organization for organization in alone if not _promote_heir(organization, user, actor, using=using)
            ]
        if alone and on_owned != "delete":
            raise LastOwner(alone)
        for organization, membership in memberships:
            if organization in alone:
                _delete_locked(organization, actor=actor, using=using)
            else:
                _remove_locked(organization, membership, actor=actor, using=using)
        user.delete()


def _delete_locked(organization: Any, *, actor: Any, using: str) -> None:
    # Deleting takes the key off the instance, and the event must still say which one it was.
    deleted = copy.copy(organization)
    organization.delete(using=using)
    events.emit_organization(events.ORGANIZATION_DELETED, deleted, actor=actor, using=using)


def _remove_locked(organization: Any, membership: Any, *, actor: Any, using: str) -> None:
    removed = copy.copy(membership)
    membership.delete(using=using)
    if removed.role == OWNER:
        settle_owners(organization, using=using)
    events.emit_member(events.MEMBER_REMOVED, removed, actor=actor, using=using)


def _database(instance: Any) -> str:
    # Not type(): the instance may be a lazy object that stands for it.
    return router.db_for_write(instance.__class__, instance=instance)


def _require_role(role: object) -> None:
    if role not in declared_roles():
        raise UnknownRole(role, declared_roles())


def _lock_membership(membership: Any, *, using: str) -> tuple[Any, Any]:
    """The membership's organization, locked, and the membership as it is under that lock."""
    organization = lock_organization(membership.organization_id, using=using)
    return organization, one_row(get_membership_model()._base_manager.using(using).filter(pk=membership.pk))


def _memberships(user: Any, *, using: str) -> list[Any]:
    rows = get_membership_model()._base_manager.using(using).filter(user=user.pk)
    # In one order for everybody: two transactions that lock the same organizations do not wait for each other.
    return list(rows.order_by("organization_id"))


def _lock_organizations_of(user: Any, *, using: str) -> dict[Any, Any]:
    locked: dict[Any, Any] = {}
    for lock_the_user in (True, False):
        for membership in _memberships(user, using=using):
            if (key := membership.organization_id) not in locked:
                with contextlib.suppress(Gone):
                    locked[key] = lock_organization(key, using=using)
        # Organizations first, as everywhere; the second round is for what the user joined meanwhile.
        if lock_the_user:
            lock_user(user, using=using)
    return locked


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


def _insert(organization: Any, slug: str | None, *, using: str) -> Any:
    model = type(organization)
    slug_field = field(model, "slug")
    if slug_field is None:
        organization.save(using=using, force_insert=True)
        return organization
    attempts = [slug] if slug else _slugs(str(organization.name), slug_field.max_length or 50)
    for attempt in attempts:
        organization.slug = attempt
        try:
            # A savepoint: on PostgreSQL a failed statement spoils the transaction around it.
            with transaction.atomic(using=using):
                organization.save(using=using, force_insert=True)
        except IntegrityError:
            # Asked after the insert: asked before it, two organizations of one name both find it free.
            if slug:
                _refuse_taken_slug(organization, slug, using=using)
            if attempt == attempts[-1]:
                raise
        else:
            break
    return organization


def _slugs(name: str, longest: int) -> list[str]:
    room = longest - 7
    base = slugify(name)[:room].strip("-_") or "organization"
    suffixes = ("".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(6)) for _ in range(_SLUG_ATTEMPTS))
    return [base, *(f"{base[:room]}-{suffix}" for suffix in suffixes)]


def _refuse_taken_slug(organization: Model, slug: str | None, *, using: str) -> None:
    others = get_organization_model()._base_manager.using(using).exclude(pk=organization.pk)
    if slug and others.filter(slug=slug).exists():
        raise SlugTaken(slug) from None
