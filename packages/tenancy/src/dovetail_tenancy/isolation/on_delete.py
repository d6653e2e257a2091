"""``on_delete`` across organizations: a row that no organization owns takes the rows of all of them along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import models
from django.db.models.deletion import Collector

from dovetail_tenancy.isolation.database_scope import override_database_scope
from dovetail_tenancy.isolation.querysets import TenantQuerySet
from dovetail_tenancy.isolation.scope import Scope, unscoped

OnDelete = Callable[..., Any]


class _AcrossOrganizations:
    """An ``on_delete`` that reaches the rows of *all* organizations that refer to a deleted row, such as a user's.

    The scope would hide the other organizations' rows from Django's collector. Deleting a user or an organization would
    raise ``IntegrityError``, or without a scope ``TenantRequired``.
    """

    lazy_sub_objs = True

    def __init__(self, on_delete: OnDelete) -> None:
        self.on_delete = on_delete
        self.__name__ = on_delete.__name__

    def __call__(self, collector: Collector, field: Any, sub_objs: Any, using: str | None) -> None:
        reason = f"deletion of {field.remote_field.model._meta.label}"
        with unscoped(reason=reason):
            fast_before = len(collector.fast_deletes)
            updates_before = {key: len(updates) for key, updates in collector.field_updates.items()}
            self.on_delete(collector, field, _pinned(sub_objs), using)
            # The collector runs these querysets later, outside this block.
            collector.fast_deletes[fast_before:] = map(_pinned, collector.fast_deletes[fast_before:])
            for key, updates in collector.field_updates.items():
                start = updates_before.get(key, 0)
                updates[start:] = map(_pinned, updates[start:])
        _delete_across_organizations(collector, reason)

    # Equal to the function it wraps: Django and the migration autodetector compare with `==`.
    def __eq__(self, other: object) -> bool:
        return self.on_delete == (other.on_delete if isinstance(other, _AcrossOrganizations) else other)

    def __hash__(self) -> int:
        return hash(self.on_delete)


def _delete_across_organizations(collector: Any, reason: str) -> None:
    """Let the collector delete the collected rows by primary key although row security is on."""
    delete = collector.delete
    # Once per collector: this runs for every relation and batch, and a hundred thousand rows have many.
    if getattr(delete, "crosses_organizations", False):
        return

    def delete_across_organizations() -> Any:
        with override_database_scope(Scope(reason=reason)):
            return delete()

    delete_across_organizations.crosses_organizations = True  # type: ignore[attr-defined]  # a mark on a function
    collector.delete = delete_across_organizations


def _pinned(objects: Any) -> Any:
    return objects.pinned() if isinstance(objects, TenantQuerySet) else objects


def across_organizations(on_delete: OnDelete) -> OnDelete:
    """Wrap ``on_delete`` so that it reaches the rows of all organizations."""
    # DO_NOTHING and on_delete in the database (Django 6.1) do not use the collector.
    if (
        isinstance(on_delete, _AcrossOrganizations)
        or on_delete is models.DO_NOTHING
        or hasattr(on_delete, "on_delete_sql")
    ):
        return on_delete
    return _AcrossOrganizations(on_delete)


def declared_on_delete(on_delete: OnDelete) -> OnDelete:
    """Return the ``on_delete`` as it was declared, for migrations."""
    return on_delete.on_delete if isinstance(on_delete, _AcrossOrganizations) else on_delete
