"""Creating accounts for invitations, and deactivating and deleting accounts that own organizations.

The signal receivers are needed because the user model is not ours: ``user.delete()``, a queryset's ``delete()``, the
admin site and cascades do not call the services. No other rule uses signals.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any, Literal

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import router, transaction
from django.db.models import Model, QuerySet
from django.db.models.signals import pre_delete, pre_save

from dovetail_core.accounts import create_passwordless_account
from dovetail_core.transactions import Vanished, retry_on_conflict
from dovetail_tenancy import events
from dovetail_tenancy.conf import OWNER, conf, membership_path
from dovetail_tenancy.exceptions import LastOwner
from dovetail_tenancy.isolation.scope import get_organization_model
from dovetail_tenancy.models import Invitation
from dovetail_tenancy.organizations.project_models import (
    Actor,
    Member,
    active_members,
    concrete_field,
    database_of,
    get_membership_model,
    user_model,
)
from dovetail_tenancy.services.members import ensure_owner, set_role
from dovetail_tenancy.services.organizations import delete_locked, lock_organizations_of

OnOwned = Literal["refuse", "transfer", "delete"]

#: The attribute of a user whose memberships ``delete_user()`` has ended. The receiver would lock and read them again.
_WITHOUT_MEMBERSHIPS = "_tenancy_without_memberships"


def create_user(*, email: str, invitation: Invitation) -> Any:
    """Create and return an account for an invited address; the default of ``TENANCY_INVITATION_CREATE_USER``.

    The address is also its user name, and it has no usable password. Raise ``ValidationError`` if the user model
    requires more fields.
    """
    return create_passwordless_account(email, user_model())


def delete_user(user: AbstractBaseUser, *, on_owned: OnOwned = "refuse", actor: Actor | None = None) -> None:
    """Delete the user and end every membership.

    ``on_owned`` decides about organizations that would have no owner left who can sign in: ``"refuse"`` raises
    ``LastOwner``, which names them; ``"transfer"`` makes the longest-standing of the highest-ranking active members
    an owner, and raises ``LastOwner`` if there is none; ``"delete"`` deletes those organizations. Raise ``Vanished`` if
    the user is deleted already.
    """
    if on_owned not in ("refuse", "transfer", "delete"):
        raise ValueError(f"on_owned is {on_owned!r}; it must be 'refuse', 'transfer' or 'delete'.")
    _delete_user(user, on_owned, actor)
    user.pk = None


@retry_on_conflict
def _delete_user(user: AbstractBaseUser, on_owned: OnOwned, actor: Actor | None) -> None:
    using = router.db_for_write(get_membership_model())
    with transaction.atomic(using=using):
        organizations, memberships = lock_organizations_of(user, deleting=on_owned == "delete", using=using)
        if on_owned != "refuse":  # otherwise it is checked after the deletion of the memberships
            sole = [row for row in memberships if _is_sole_owner(row, using=using)]
            if on_owned == "transfer":
                sole = [row for row in sole if not _promote_member(row, actor, using=using)]
                if sole:
                    raise LastOwner([organizations[row.organization_id] for row in sole])
            for row in sole:
                delete_locked(organizations[row.organization_id], actor=actor, using=using)
            memberships = [row for row in memberships if row not in sole]
        _end_memberships(organizations, memberships, actor=actor, using=using)
        # Deletion removes the key from the instance. If the commit fails, a second attempt needs it.
        deleted = copy.copy(user)
        vars(deleted)[_WITHOUT_MEMBERSHIPS] = True
        deleted.delete()


def deactivate_user(user: AbstractBaseUser) -> None:
    """Set the user inactive. Raise ``LastOwner`` if an organization would have no owner left who can sign in.

    Saving the user with ``is_active = False`` does the same. ``QuerySet.update(is_active=False)`` sends no signal, so
    this rule cannot apply to it: call this function for each user instead.
    """
    _write_inactive(user, using=database_of(user))
    user.is_active = False


def connect_receivers() -> None:
    field = concrete_field(get_membership_model(), membership_path("user"))
    if field is None or isinstance(field.related_model, str):
        return  # checks report a missing field (E002) and a model that is not installed (Django's fields.E300)
    model = user_model()
    pre_delete.connect(before_deletion, sender=model, dispatch_uid="dovetail_tenancy.guard")
    if concrete_field(model, "is_active"):
        pre_save.connect(before_save, sender=model, dispatch_uid="dovetail_tenancy.guard")


def before_deletion(instance: Model, using: str, origin: object = None, **kwargs: Any) -> None:
    """End the memberships of a user who is being deleted. Raise ``LastOwner``."""
    if _WITHOUT_MEMBERSHIPS in vars(instance):
        return
    with transaction.atomic(using=using):
        deleted_keys = _deleted_organization_keys(origin)
        try:
            organizations, memberships = lock_organizations_of(instance, using=using)
        except Vanished:
            # Another request has deleted the user. Django deletes a row that does not exist without an error.
            return
        memberships = [row for row in memberships if row.organization_id not in deleted_keys]
        _end_memberships(organizations, memberships, actor=None, using=using)


def before_save(instance: Any, using: str, raw: bool, update_fields: frozenset[str] | None, **kwargs: Any) -> None:
    # raw: the rows of a fixture come in any order, users before their memberships.
    if raw or instance.is_active or instance.pk is None:
        return
    if update_fields is None or "is_active" in update_fields:
        _write_inactive(instance, using=using)


def _deleted_organization_keys(origin: object) -> Collection[Any]:
    """Return the keys of the organizations whose deletion cascades to the user, as a company's to its employees."""
    model = get_organization_model()
    if isinstance(origin, model):
        return {origin.pk}
    if isinstance(origin, QuerySet) and issubclass(origin.model, model):
        return set(origin.model._base_manager.using(origin.db).filter(pk__in=origin).values_list("pk", flat=True))
    return ()


def _write_inactive(user: Model, *, using: str) -> None:
    """Write ``is_active = False`` to the user's row. Raise ``LastOwner`` and write nothing if no owner would remain.

    It writes even if the caller is about to save the user: outside a transaction the locks end with this function, and
    two owners who are saved after their checks would both pass.
    """
    rows = user_model()._base_manager.using(using).filter(pk=user.pk, is_active=True)
    if not rows.exists():
        return
    with transaction.atomic(using=using):
        try:
            organizations, memberships = lock_organizations_of(user, using=using)
        except Vanished:
            return
        rows.update(is_active=False)
        _ensure_owners(organizations, memberships, using=using)


def _end_memberships(
    organizations: Mapping[Any, Any], memberships: list[Any], *, actor: Actor | None, using: str
) -> None:
    """Delete memberships of locked organizations. Raise ``LastOwner``."""
    # Deletion removes the key from an instance, and the events need it.
    ended = [copy.copy(row) for row in memberships]
    for membership in memberships:
        membership.delete(using=using)
    _ensure_owners(organizations, ended, using=using)
    for membership in ended:
        events.emit_member(events.MEMBER_REMOVED, membership, actor=actor, using=using)


def _ensure_owners(organizations: Mapping[Any, Any], memberships: list[Any], *, using: str) -> None:
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


def _is_sole_owner(membership: Member, *, using: str) -> bool:
    others = active_members(membership.organization_id, OWNER, using=using).exclude(pk=membership.pk)
    return membership.role == OWNER and not others.exists()


def _promote_member(leaving: Member, actor: Actor | None, *, using: str) -> bool:
    for role in conf.ROLES:
        members = active_members(leaving.organization_id, role, using=using)
        member: Any = members.exclude(pk=leaving.pk).first()
        if member is not None:
            set_role(member, OWNER, actor=actor, using=using)
            return True
    return False
