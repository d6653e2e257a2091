"""Foreign keys of tenant models. In migrations they are plain ``ForeignKey``s."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, cast

from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models.deletion import Collector
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.sql.where import AND, WhereNode

from dovetail_core.fields import SettingForeignKey
from dovetail_tenancy.isolation.database_scope import in_database
from dovetail_tenancy.isolation.expressions import JoinedInCurrentTenant, OwnedByCurrentTenant, SameTenant
from dovetail_tenancy.isolation.querysets import MOVED_FROM, TenantQuerySet
from dovetail_tenancy.isolation.scope import Scope, unscoped

OnDelete = Callable[..., Any]


class _FromEverywhere:
    """An ``on_delete`` for when a row that no organization owns goes: the rows of *all* organizations that refer to it.

    The active organization would hide the others' rows from Django's collector, and deleting a user or an
    organization would end in an ``IntegrityError``, or with no organization active in ``TenantRequired``.
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
            # The collector runs these querysets later, when this block has been left.
            collector.fast_deletes[fast_before:] = map(_pinned, collector.fast_deletes[fast_before:])
            for key, updates in collector.field_updates.items():
                start = updates_before.get(key, 0)
                updates[start:] = map(_pinned, updates[start:])
        _delete_everywhere(collector, reason)

    # Equal to the function it stands for: Django compares with `==`, and so does the migration autodetector.
    def __eq__(self, other: object) -> bool:
        return self.on_delete == (other.on_delete if isinstance(other, _FromEverywhere) else other)

    def __hash__(self) -> int:
        return hash(self.on_delete)


def _delete_everywhere(collector: Any, reason: str) -> None:
    """Have row security show the collector what it collected, when it comes to delete it by primary keys."""
    delete = collector.delete
    # Once: this is called for each relation and each batch, and a hundred thousand rows have many.
    if getattr(delete, "reaches_everywhere", False):
        return

    def delete_everywhere() -> Any:
        with in_database(Scope(reason=reason)):
            return delete()

    delete_everywhere.reaches_everywhere = True  # type: ignore[attr-defined]  # a mark on a function
    collector.delete = delete_everywhere


def _pinned(objects: Any) -> Any:
    return objects.pinned() if isinstance(objects, TenantQuerySet) else objects


def from_everywhere(on_delete: OnDelete) -> OnDelete:
    # DO_NOTHING and what the database does by itself (Django 6.1) never ask the collector.
    if isinstance(on_delete, _FromEverywhere) or on_delete is models.DO_NOTHING or hasattr(on_delete, "on_delete_sql"):
        return on_delete
    return _FromEverywhere(on_delete)


def plain(on_delete: OnDelete) -> OnDelete:
    return on_delete.on_delete if isinstance(on_delete, _FromEverywhere) else on_delete


def organization_column(model: type[models.Model]) -> Any:
    """The ``organization`` field of a tenant model, or None where the model is none."""
    try:
        field = model._meta.get_field("organization")
    except FieldDoesNotExist:
        return None
    return field if isinstance(field, OrganizationForeignKey) else None


def ownership(model: type[models.Model], alias: str) -> Any:
    """The condition that a row of a tenant model, joined as ``alias``, belongs to the active organization."""
    column = organization_column(model)
    if column.model._meta.db_table == model._meta.db_table:
        return JoinedInCurrentTenant(column.get_col(alias))
    # A child table has its parent's key, and not its organization.
    return OwnedByCurrentTenant(model._meta.pk.get_col(alias), column)


def join_condition(field: Any, alias: str | None, related_alias: str | None) -> Any:
    """What a join over a foreign key carries, in either direction, where one end is a tenant model.

    ``alias`` is of the table that the key points at, ``related_alias`` of the one it stands in; Django gives None for
    an end that is not in the query.
    """
    own, theirs = organization_column(field.model), organization_column(field.remote_field.model)
    tables = {field.model._meta.db_table, field.remote_field.model._meta.db_table}
    if own and theirs and alias and related_alias and {own.model._meta.db_table, theirs.model._meta.db_table} == tables:
        return SameTenant(own.get_col(related_alias), theirs.get_col(alias))
    conditions = [
        ownership(model, at)
        for model, at, column in ((field.model, related_alias, own), (field.remote_field.model, alias, theirs))
        if column is not None and at is not None
    ]
    return WhereNode(conditions, AND) if conditions else None


class _HandedOver:
    """An ``on_delete`` that leaves the contact to the guard, which finds another or refuses; ``PROTECT`` in migrations.

    Only Django's admin is told while it collects, because there a protected object is a page and not an exception.
    """

    lazy_sub_objs = True
    __name__ = "PROTECT"

    def __call__(self, collector: Collector, field: Any, sub_objs: Any, using: str | None) -> None:
        if not hasattr(collector, "protected"):
            return
        from dovetail_tenancy.services.locks import active_members

        leaving = [user.pk for user in collector.data.get(field.remote_field.model, ())]
        kept = [
            organization
            for organization in sub_objs
            if not active_members(organization.pk, "owner", using=using or "default").exclude(user__in=leaving).exists()
        ]
        if kept:
            raise models.ProtectedError("The last owner of an organization stays.", set(kept))

    def __eq__(self, other: object) -> bool:
        return other is models.PROTECT or isinstance(other, _HandedOver)

    def __hash__(self) -> int:
        return hash(models.PROTECT)


class OwnerForeignKey(SettingForeignKey):
    """The contact of an organization, one of its owners: never left without one when a user is deleted."""

    def __init__(self, to: Any = None, on_delete: Any = None, **kwargs: Any) -> None:
        kwargs = {"setting": "AUTH_USER_MODEL", "inherited": True, **kwargs}
        super().__init__(to, on_delete=_HandedOver(), **kwargs)

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        kwargs["on_delete"] = models.PROTECT
        return name, path, args, kwargs


class _OrganizationAttribute(ForeignKeyDeferredAttribute):
    """``organization_id`` of an instance, which keeps the value that it was read with.

    So that a row cannot be taken over by giving a loaded instance another organization. Kept on change and not by
    ``from_db``, which would cost every row that is read.
    """

    def __set__(self, instance: models.Model, value: Any) -> None:
        values = instance.__dict__
        before = values.get(self.field.attname)
        if before is None and not instance._state.fields_cache:
            values[self.field.attname] = value
            return
        if before is not None and before != value:
            values.setdefault(MOVED_FROM, before)
        super().__set__(instance, value)


class OrganizationForeignKey(SettingForeignKey):
    """The organization that owns a row. Joins from the organization to the rows see the active one's only."""

    descriptor_class = _OrganizationAttribute

    def __init__(self, to: Any = None, on_delete: Any = models.CASCADE, **kwargs: Any) -> None:
        kwargs = {"setting": "TENANCY_ORGANIZATION_MODEL", "inherited": True, **kwargs}
        super().__init__(to, on_delete=from_everywhere(on_delete), **kwargs)

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        kwargs["on_delete"] = plain(kwargs["on_delete"])
        return name, path, args, kwargs

    def get_extra_restriction(self, alias: str | None, related_alias: str) -> Any:
        return JoinedInCurrentTenant(self.get_col(related_alias))


class TenantForeignKey(models.ForeignKey):  # type: ignore[type-arg]  # as generic as Django's own
    """A foreign key of a tenant model, to another tenant model or to one that no organization owns (a user).

    Between tenant models, joins carry the equality of organizations. To any other model, joins back from it see the
    active organization's rows only, and deleting its row reaches the rows of every organization.
    """

    declared: ClassVar[type[models.Field[Any, Any]]] = models.ForeignKey
    """What stands in migrations."""

    def __init__(self, to: Any, on_delete: Any, **kwargs: Any) -> None:
        super().__init__(to, on_delete, **kwargs)

    def contribute_to_related_class(self, cls: type[models.Model], related: Any) -> None:
        super().contribute_to_related_class(cls, related)
        if organization_column(cls) is None:
            self.remote_field.on_delete = from_everywhere(cast("OnDelete", self.remote_field.on_delete))

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, _, args, kwargs = super().deconstruct()
        kwargs["on_delete"] = plain(kwargs["on_delete"])
        return name, f"django.db.models.{self.declared.__name__}", list(args), dict(kwargs)

    def get_extra_restriction(self, alias: str | None, related_alias: str | None) -> Any:
        return join_condition(self, alias, related_alias)


class TenantOneToOneField(TenantForeignKey, models.OneToOneField):  # type: ignore[type-arg]  # as Django's own two
    """A ``TenantForeignKey`` that is unique."""

    declared = models.OneToOneField
