"""The organization of instances that are written: assigned to new rows, compared for all others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import models

from dovetail_tenancy.isolation.scope import Scope, TenantMismatch

MOVED_FROM = "_tenancy_moved_from"
"""The instance attribute that holds the organization it was read with, once it was assigned another."""


def assign_organization(instance: models.Model, scope: Scope) -> None:
    """Assign the active organization to a row without one. Refuse another organization's row, and one that was moved.

    Raises ``TenantMismatch``.
    """
    if scope.everything:
        return
    owner = instance.organization_id  # type: ignore[attr-defined]  # every tenant model has it
    if owner is None:
        instance.organization_id = scope.organization_id  # type: ignore[attr-defined]
    elif owner != scope.organization_id or loaded_organization(instance) not in (None, scope.organization_id):
        raise TenantMismatch(
            f"This {instance._meta.label} belongs to another organization than the active one, {scope.organization_id}."
        )
    refuse_foreign_instances(type(instance), instance._state.fields_cache.values(), scope)


def refuse_foreign_instances(model: type[models.Model], values: Iterable[Any], scope: Scope) -> None:
    """Raise ``TenantMismatch`` if one of the values is another organization's instance.

    The owner of a bare key is unknown without a query, so keys pass.
    """
    if scope.everything:
        return
    for value in values:
        if isinstance(value, models.Model) and loaded_organization(value) not in (None, scope.organization_id):
            raise TenantMismatch(
                f"A {model._meta.label} of organization {scope.organization_id} cannot refer to a "
                f"{value._meta.label} of another."
            )


def loaded_organization(instance: models.Model) -> Any:
    """Return the organization of the row in the database, or None if the instance was neither read nor saved."""
    if instance._state.adding:
        return None
    values = instance.__dict__
    return values.get(MOVED_FROM) or values.get("organization_id")
