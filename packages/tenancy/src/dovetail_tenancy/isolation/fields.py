"""Tenant models and their foreign keys, which are plain ``ForeignKey``s in migrations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeAlias, cast

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import models, router
from django.db.models.deletion import Collector
from django.db.models.fields.related import RelatedField
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.lookups import Exact
from django.db.models.sql.where import AND, WhereNode

from dovetail_core.models import SettingForeignKey
from dovetail_tenancy.isolation.querysets import (
    MOVED_FROM,
    InCurrentTenant,
    OwnedByCurrentTenant,
    TenantManager,
    TenantQuerySet,
    assign_organization,
)
from dovetail_tenancy.isolation.scope import Scope, TenantMismatch, override_database_scope, require_scope, unscoped

Key: TypeAlias = "models.ForeignKey[Any, Any]"
OnDelete = Callable[..., Any]


def organization_column(model: type[models.Model] | str) -> Any:
    """Return the ``organization`` field of a tenant model, or None for any other model."""
    if isinstance(model, str):
        return None  # the target of a foreign key that is not installed: Django's checks report it (fields.E300)
    try:
        field = model._meta.get_field("organization")
    except FieldDoesNotExist:
        return None
    return field if isinstance(field, OrganizationForeignKey) else None


def ownership_condition(model: type[models.Model], owner: OrganizationForeignKey, alias: str) -> InCurrentTenant:
    """Return the condition that a row of ``model``, joined as ``alias``, belongs to the active organization."""
    if owner.model._meta.db_table == model._meta.db_table:
        return InCurrentTenant(owner.get_col(alias))
    # A child table has its parent's key, but not its organization.
    return OwnedByCurrentTenant(model._meta.pk.get_col(alias), owner)


def join_condition(field: Key, alias: str | None, related_alias: str | None) -> Any:
    """Return the condition of a join over a foreign key, in either direction, if one end is a tenant model.

    ``alias`` is the alias of the table that the key points at, ``related_alias`` of the table with the key. Django
    passes None for an end that is not in the query.
    """
    target = field.remote_field.model
    own, other = organization_column(field.model), organization_column(target)
    tables = {field.model._meta.db_table, target._meta.db_table}
    if own and other and alias and related_alias and {own.model._meta.db_table, other.model._meta.db_table} == tables:
        return Exact(own.get_col(related_alias), other.get_col(alias))
    conditions: list[Any] = [
        ownership_condition(model, owner, at)
        for model, owner, at in ((field.model, own, related_alias), (target, other, alias))
        if owner is not None and at is not None
    ]
    return WhereNode(conditions, AND) if conditions else None


class _AcrossOrganizations:
    """An ``on_delete`` that reaches the rows of *all* organizations that refer to a deleted row, such as a user's.

    The scope would hide the other organizations' rows from Django's collector. Deleting a user or an organization would
    raise ``IntegrityError``, or without a scope ``TenantRequired``.
    """

    lazy_sub_objs = True

    def __init__(self, on_delete: OnDelete) -> None:
        self.on_delete = on_delete
        self.__name__ = on_delete.__name__

    def __call__(self, collector: Collector, field: Key, sub_objs: object, using: str | None) -> None:
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


def _delete_across_organizations(collector: Collector, reason: str) -> None:
    """Let the collector delete the collected rows by primary key although row security is on."""
    delete = collector.delete
    # Once per collector: this runs for every relation and batch, and a hundred thousand rows have many.
    if getattr(delete, "crosses_organizations", False):
        return

    def delete_across_organizations() -> Any:
        with override_database_scope(Scope(reason=reason)):
            return delete()

    delete_across_organizations.crosses_organizations = True  # type: ignore[attr-defined]  # a mark on a function
    collector.delete = delete_across_organizations  # type: ignore[method-assign]


def _pinned(objects: Any) -> Any:
    return objects.pinned() if isinstance(objects, TenantQuerySet) else objects


def across_organizations(on_delete: OnDelete) -> OnDelete:
    # DO_NOTHING and on_delete in the database (Django 6.1) do not use the collector.
    uses_collector = on_delete is not models.DO_NOTHING and not hasattr(on_delete, "on_delete_sql")
    wrap = uses_collector and not isinstance(on_delete, _AcrossOrganizations)
    return _AcrossOrganizations(on_delete) if wrap else on_delete


def cascade_across_organizations(field: Key) -> None:
    """Wrap the ``on_delete`` of a foreign key to a row that no organization owns."""
    field.remote_field.on_delete = across_organizations(cast("OnDelete", field.remote_field.on_delete))


def with_declared_on_delete(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments of a field for migrations, with ``on_delete`` as it was declared."""
    on_delete = kwargs["on_delete"]
    return {**kwargs, "on_delete": on_delete.on_delete if isinstance(on_delete, _AcrossOrganizations) else on_delete}


class _OrganizationAttribute(ForeignKeyDeferredAttribute):
    """``organization_id`` of an instance, which remembers the value that it was read with.

    Assigning another organization to a loaded instance must not take the row over. The value is stored when it
    changes and not by ``from_db``, which would cost time for every row that is read.
    """

    def __set__(self, instance: models.Model, value: object) -> None:
        values = instance.__dict__
        before = values.get(self.field.attname)
        if before is None and not instance._state.fields_cache:
            values[self.field.attname] = value
            return
        if before is not None and before != value:
            values.setdefault(MOVED_FROM, before)
        super().__set__(instance, value)


class OrganizationForeignKey(SettingForeignKey):
    """The organization that owns a row. Joins from the organization to its rows return the active one's only."""

    descriptor_class = _OrganizationAttribute

    def __init__(
        self, to: type[models.Model] | str | None = None, on_delete: OnDelete = models.CASCADE, **kwargs: Any
    ) -> None:
        kwargs = {"setting": "TENANCY_ORGANIZATION_MODEL", "inherited": True, **kwargs}
        super().__init__(to, on_delete=across_organizations(on_delete), **kwargs)

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, with_declared_on_delete(kwargs)

    def get_extra_restriction(self, alias: str | None, related_alias: str) -> Any:
        return InCurrentTenant(self.get_col(related_alias))


class TenantForeignKey(models.ForeignKey):  # type: ignore[type-arg]  # as generic as Django's own
    """A foreign key of a tenant model, to another tenant model or to one that no organization owns (a user).

    Between tenant models, a join also compares the organizations. From any other model, joins return the active
    organization's rows only, and deleting its row cascades to the rows of every organization.
    """

    def contribute_to_related_class(self, cls: type[models.Model], related: RelatedField[Any, Any]) -> None:
        super().contribute_to_related_class(cls, related)
        if organization_column(cls) is None:
            cascade_across_organizations(self)

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, _, args, kwargs = super().deconstruct()
        declared = "OneToOneField" if self.one_to_one else "ForeignKey"
        return name, f"django.db.models.{declared}", list(args), with_declared_on_delete(dict(kwargs))

    def get_extra_restriction(self, alias: str | None, related_alias: str | None) -> Any:
        return join_condition(self, alias, related_alias)


class TenantOneToOneField(TenantForeignKey, models.OneToOneField):  # type: ignore[type-arg]  # as Django's own two
    """A ``TenantForeignKey`` that is unique."""


class TenantModel(models.Model):
    """A model whose every row belongs to one organization.

    Reads and writes reach the rows of the active organization (:func:`dovetail_tenancy.tenant`). Without an active
    organization they raise ``TenantRequired``. A new row gets the active organization.
    """

    organization = OrganizationForeignKey()

    objects: ClassVar[TenantManager] = TenantManager()

    class Meta:
        abstract = True
        base_manager_name = "objects"

    def save_base(self, *args: Any, **kwargs: Any) -> None:
        # Before pre_save, so that its receivers see the organization of a new row.
        assign_organization(self, require_scope(f"Saving a {self._meta.label}"))
        super().save_base(*args, **kwargs)

    # Here as well: loaddata and deserialized objects call Model.save_base directly, and would write rows of any
    # organization.
    def _save_table(self, *args: Any, **kwargs: Any) -> bool:
        assign_organization(self, require_scope(f"Saving a {self._meta.label}"))
        written: bool = super()._save_table(*args, **kwargs)  # type: ignore[misc]  # Django's own, not in the stubs
        self.__dict__.pop(MOVED_FROM, None)
        return written

    def delete(self, using: str | None = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        scope = require_scope(f"Deleting a {self._meta.label}")
        assign_organization(self, scope)
        # An instance made by hand can have any primary key, and Django deletes by the key alone.
        if not scope.everything and not type(self)._base_manager.using(using).filter(pk=self.pk).exists():
            raise TenantMismatch(f"The active organization has no {self._meta.label} with the key {self.pk}.")
        return super().delete(using, keep_parents)


def tenant_tables(using: str) -> Iterator[type[TenantModel]]:
    for model in apps.get_models():
        if issubclass(model, TenantModel) and router.allow_migrate_model(using, model) and not model._meta.proxy:
            yield model
