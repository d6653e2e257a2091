"""Row locks. Every change to the owners of an organization locks its row first.

Without the lock two owners could demote each other at the same moment: each transaction still sees the other owner,
and the organization loses both.
"""

from __future__ import annotations

import contextlib
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db import connections
from django.db.models import F, Model, QuerySet

from dovetail_tenancy.exceptions import Gone
from dovetail_tenancy.isolation.organization_model import get_organization_model
from dovetail_tenancy.organizations.project_models import Member, get_membership_model, memberships_of, user_model


def lock_organization(organization_id: object, *, using: str) -> Any:
    """Lock the organization's row until the transaction ends and return it as it is now. Raise ``Gone``."""
    # NO KEY: an INSERT of a row that belongs to the organization checks its foreign key and must not wait.
    return lock_row(get_organization_model(), organization_id, using=using)


def lock_row(model: type[Model], pk: object, *, no_key: bool = True, using: str) -> Any:
    """Lock the row until the transaction ends and return it as it is now. Raise ``Gone``.

    Without ``no_key``, rows that refer to it cannot be added either.
    """
    rows = model._base_manager.using(using).filter(pk=pk)
    features = connections[using].features
    if features.has_select_for_update:
        rows = rows.select_for_update(no_key=no_key and features.has_select_for_no_key_update)
    else:
        # SQLite locks at the first write. After a read, a second writer would fail instead of waiting.
        rows.update(**{model._meta.pk.name: F(model._meta.pk.name)})
    return get_row(rows)


def get_row(rows: QuerySet[Model]) -> Any:
    try:
        return rows.get()
    except ObjectDoesNotExist:
        raise Gone(str(rows.model._meta.verbose_name)) from None


def lock_membership(membership: Member, *, using: str) -> tuple[Any, Any]:
    organization = lock_organization(membership.organization_id, using=using)
    return organization, get_row(get_membership_model()._base_manager.using(using).filter(pk=membership.pk))


def lock_organizations_of(user: Model, *, using: str) -> dict[Any, Any]:
    """Lock the user's row and the organizations the user is a member of; return the organizations by key."""
    organizations: dict[Any, Any] = {}
    for lock_the_user in (True, False):
        for membership in memberships_of(user, using=using):
            if (key := membership.organization_id) not in organizations:
                with contextlib.suppress(Gone):
                    organizations[key] = lock_organization(key, using=using)
        # Organizations are always locked before users. The second round locks those that the user joined meanwhile.
        if lock_the_user:
            lock_row(user_model(), user.pk, no_key=False, using=using)
    return organizations
