"""Creating, changing and deleting organizations, and the locks of their rows.

Every change to the owners of an organization locks its row first. Without the lock two owners could demote each other
at the same moment: each transaction still sees the other owner, and the organization loses both.
"""

from __future__ import annotations

import contextlib
import copy
import secrets
from typing import Any

from django.db import IntegrityError, router, transaction
from django.db.models import Model, QuerySet
from django.utils.text import slugify

from dovetail_core.transactions import Vanished, lock, retry_on_conflict
from dovetail_tenancy import events
from dovetail_tenancy.conf import OWNER, conf, membership_lookups
from dovetail_tenancy.exceptions import Gone, OwnerCannotSignIn, SlugTaken
from dovetail_tenancy.isolation.scope import get_organization_model
from dovetail_tenancy.organizations.project_models import (
    Actor,
    concrete_field,
    database_of,
    get_membership_model,
    has_owner_field,
    is_person,
    memberships_of,
    user_model,
)
from dovetail_tenancy.organizations.roles import authorize, call_hook, require_below_limit

# No look-alikes and no vowels: a random suffix must not spell a word.
_SUFFIX_ALPHABET = "bcdfghjkmnpqrstvwxz23456789"
_SLUG_ATTEMPTS = 8


@retry_on_conflict
def create_organization(*, name: str, owner: Actor, slug: str | None = None, **fields: Any) -> Any:
    """Create an organization and its owner's membership; return the organization.

    Without ``slug``, the slug is made from the name, with a random suffix if it is taken. ``fields`` are more fields of
    a project's own organization model. Raise ``SlugTaken``, ``OwnerCannotSignIn`` or
    ``LimitReached``.
    """
    if not is_person(owner):
        raise OwnerCannotSignIn
    model = get_organization_model()
    using = router.db_for_write(model)
    if has_owner_field(model):
        fields["owner"] = owner
    with transaction.atomic(using=using):
        call_hook("BEFORE_CREATE_ORGANIZATION", name=name, owner=owner)
        if conf.MAX_ORGANIZATIONS is not None:
            # Without the lock, two organizations that are created at the same moment would both pass the check.
            lock_row(user_model(), owner.pk, deleting=True, using=using)
            lookups = membership_lookups(user=owner.pk, role=OWNER)
            owned = get_membership_model()._base_manager.using(using).filter(**lookups)
            require_below_limit("MAX_ORGANIZATIONS", owned.count, user=owner)
        organization = _insert(model(name=name, **fields), slug, using=using)
        fields_of_owner = membership_lookups(organization=organization, user=owner, role=OWNER)
        membership: Any = get_membership_model()(**fields_of_owner)
        membership.save(using=using, force_insert=True)
        events.emit_organization(events.ORGANIZATION_CREATED, organization, actor=owner, using=using)
        events.emit_member(events.MEMBER_ADDED, membership, actor=owner, using=using)
    return organization


@retry_on_conflict
def update_organization(*, organization: Model, actor: Actor | None = None, **changes: Any) -> Any:
    """Write the named fields, and no others, to the organization and return it. Raise ``SlugTaken``.

    Raise ``TypeError`` for the owner, because the members' roles decide who owns an organization.
    """
    if has_owner_field(get_organization_model()) and changes.keys() & {"owner", "owner_id"}:
        raise TypeError("update_organization() does not take the owner. Make the user an owner with change_role().")
    using = database_of(organization)
    try:
        with transaction.atomic(using=using):
            if actor is not None:
                authorize(actor, organization.pk, "organization.update", using=using)
            if not changes:
                return organization
            for name, value in changes.items():
                setattr(organization, name, value)
            save_organization_fields(organization, list(changes), using=using)
            fields = sorted(changes)
            events.emit_organization(events.ORGANIZATION_UPDATED, organization, actor=actor, using=using, fields=fields)
    except IntegrityError:
        # After the transaction, because PostgreSQL rejects every statement after an error until a rollback.
        _refuse_taken_slug(organization, changes.get("slug"), using=using)
        raise
    return organization


@retry_on_conflict
def delete_organization(*, organization: Model, actor: Actor | None = None) -> None:
    """Delete the organization, its memberships, and all rows that belong to it."""
    using = database_of(organization)
    with transaction.atomic(using=using):
        locked = lock_organization(organization.pk, deleting=True, using=using)
        authorize(actor, locked.pk, "organization.delete", using=using)
        call_hook("BEFORE_DELETE_ORGANIZATION", organization=locked, actor=actor)
        delete_locked(locked, actor=actor, using=using)


def delete_locked(organization: Model, *, actor: Actor | None, using: str) -> None:
    # Deletion removes the key from the instance, and the event needs it.
    deleted = copy.copy(organization)
    organization.delete(using=using)
    events.emit_organization(events.ORGANIZATION_DELETED, deleted, actor=actor, using=using)


def save_organization_fields(organization: Model, names: list[str], *, using: str) -> None:
    """Save these fields and ``updated_at``, which ``auto_now`` writes only if ``update_fields`` names it."""
    has_timestamp = concrete_field(organization.__class__, "updated_at")
    organization.save(update_fields=[*names, "updated_at"] if has_timestamp else names, using=using)


def _insert(organization: Any, slug: str | None, *, using: str) -> Any:
    slug_field = concrete_field(type(organization), "slug")
    if slug_field is None:
        organization.save(using=using, force_insert=True)
        return organization
    candidates = [slug] if slug else _slugs(str(organization.name), slug_field.max_length or 50)
    for candidate in candidates:
        organization.slug = candidate
        try:
            # A savepoint, because on PostgreSQL a failed statement aborts the transaction around it.
            with transaction.atomic(using=using):
                organization.save(using=using, force_insert=True)
        except IntegrityError:
            # Checked after the insert: before it, two organizations of one name would both find the slug free.
            if slug:
                _refuse_taken_slug(organization, slug, using=using)
            if candidate == candidates[-1]:
                raise
        else:
            break
    return organization


def _slugs(name: str, max_length: int) -> list[str]:
    base_length = max_length - 7
    base = slugify(name)[:base_length].strip("-_") or "organization"
    suffixes = ("".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(6)) for _ in range(_SLUG_ATTEMPTS))
    return [base, *(f"{base[:base_length]}-{suffix}" for suffix in suffixes)]


def _refuse_taken_slug(organization: Model, slug: str | None, *, using: str) -> None:
    others = get_organization_model()._base_manager.using(using).exclude(pk=organization.pk)
    if slug and others.filter(slug=slug).exists():
        raise SlugTaken(slug) from None


def lock_organization(organization_id: object, *, deleting: bool = False, using: str) -> Any:
    """Lock the organization's row until the transaction ends and return it as it is now. Raise ``Gone``."""
    return lock_row(get_organization_model(), organization_id, deleting=deleting, using=using)


def lock_row(model: type[Model], pk: object, *, deleting: bool = False, using: str) -> Any:
    """Lock the row until the transaction ends and return it as it is now. Raise ``Gone``.

    With ``deleting``, rows that refer to it cannot be added either.
    """
    try:
        return lock(model._base_manager.using(using).filter(pk=pk), deleting=deleting)
    except Vanished:
        raise Gone(str(model._meta.verbose_name)) from None


def get_row(rows: QuerySet[Any, Any]) -> Any:
    if (row := rows.first()) is None:
        raise Gone(str(rows.model._meta.verbose_name))
    return row


def lock_organizations_of(user: Model, *, deleting: bool = False, using: str) -> tuple[dict[Any, Any], list[Any]]:
    """Lock the user's row and the organizations the user is a member of.

    Return the organizations by key, and the user's memberships. ``deleting`` locks the organizations for deletion.
    Raise ``Vanished`` if the user is deleted.
    """
    organizations: dict[Any, Any] = {}

    def lock_others(memberships: list[Any]) -> bool:
        keys = [row.organization_id for row in memberships if row.organization_id not in organizations]
        for key in keys:
            with contextlib.suppress(Gone):
                organizations[key] = lock_organization(key, deleting=deleting, using=using)
        return bool(keys)

    # Organizations are always locked before users. The second round locks those that the user joined meanwhile.
    lock_others(memberships_of(user, using=using))
    lock(user_model()._base_manager.using(using).filter(pk=user.pk), deleting=True)
    memberships = memberships_of(user, using=using)
    if lock_others(memberships):
        memberships = memberships_of(user, using=using)
    return organizations, memberships
