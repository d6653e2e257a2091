"""Creating, changing and deleting organizations."""

from __future__ import annotations

import copy
import secrets
from typing import Any

from django.db import IntegrityError, router, transaction
from django.db.models import Model
from django.utils.text import slugify

from dovetail_tenancy import events, get_membership_model, get_organization_model
from dovetail_tenancy.exceptions import OwnerCannotSignIn, SlugTaken
from dovetail_tenancy.organizations import hooks
from dovetail_tenancy.organizations.roles import OWNER, is_person
from dovetail_tenancy.services.locks import (
    authorize,
    database,
    field,
    has_owner,
    lock_organization,
    lock_user,
    save_fields,
)

# No look-alikes, no vowels: a random suffix must not spell a word.
_SUFFIX_ALPHABET = "bcdfghjkmnpqrstvwxz23456789"
_SLUG_ATTEMPTS = 8


def create_organization(*, name: str, owner: Any, slug: str | None = None, **fields: Any) -> Any:
    """Create an organization together with its owner's membership.

    Without ``slug`` one is made from the name, with a random suffix where it is taken. ``fields`` are further fields
    of a project's own organization model. Raises ``SlugTaken``, ``OwnerCannotSignIn``, ``LimitReached``.
    """
    if not is_person(owner):
        raise OwnerCannotSignIn
    model = get_organization_model()
    using = router.db_for_write(model)
    if has_owner(model):
        fields["owner"] = owner
    with transaction.atomic(using=using):
        hooks.ask("BEFORE_CREATE_ORGANIZATION", name=name, owner=owner)
        if hooks.limited("MAX_ORGANIZATIONS"):
            # Two that are created at the same moment would both find room for one.
            lock_user(owner, using=using)
            owned = get_membership_model()._base_manager.using(using).filter(user=owner.pk, role=OWNER)
            hooks.require_room("MAX_ORGANIZATIONS", owned.count, user=owner)
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
    using = database(organization)
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
    using = database(organization)
    with transaction.atomic(using=using):
        locked = lock_organization(organization.pk, using=using)
        authorize(actor, locked.pk, "organization.delete", using=using)
        hooks.ask("BEFORE_DELETE_ORGANIZATION", organization=locked, actor=actor)
        delete_locked(locked, actor=actor, using=using)


def delete_locked(organization: Any, *, actor: Any, using: str) -> None:
    # Deleting takes the key off the instance, and the event must still say which one it was.
    deleted = copy.copy(organization)
    organization.delete(using=using)
    events.emit_organization(events.ORGANIZATION_DELETED, deleted, actor=actor, using=using)


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
