"""Foreign keys of tenant models. In migrations they are plain ``ForeignKey``s."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.sql.where import AND, WhereNode

from dovetail_core.models import SettingForeignKey
from dovetail_tenancy.isolation.expressions import JoinedInCurrentTenant, OwnedByCurrentTenant, SameTenant
from dovetail_tenancy.isolation.on_delete import OnDelete, across_organizations, declared_on_delete
from dovetail_tenancy.isolation.row_ownership import MOVED_FROM


def organization_column(model: type[models.Model]) -> Any:
    """Return the ``organization`` field of a tenant model, or None for any other model."""
    try:
        field = model._meta.get_field("organization")
    except FieldDoesNotExist:
        return None
    return field if isinstance(field, OrganizationForeignKey) else None


def ownership_condition(model: type[models.Model], alias: str) -> Any:
    """Return the condition that a tenant model's row, joined as ``alias``, belongs to the active organization."""
    column = organization_column(model)
    if column.model._meta.db_table == model._meta.db_table:
        return JoinedInCurrentTenant(column.get_col(alias))
    # A child table has its parent's key, but not its organization.
    return OwnedByCurrentTenant(model._meta.pk.get_col(alias), column)


def join_condition(field: Any, alias: str | None, related_alias: str | None) -> Any:
    """Return the condition of a join over a foreign key, in either direction, if one end is a tenant model.

    ``alias`` is the alias of the table that the key points at, ``related_alias`` of the table with the key. Django
    passes None for an end that is not in the query.
    """
    own, other = organization_column(field.model), organization_column(field.remote_field.model)
    tables = {field.model._meta.db_table, field.remote_field.model._meta.db_table}
    if own and other and alias and related_alias and {own.model._meta.db_table, other.model._meta.db_table} == tables:
        return SameTenant(own.get_col(related_alias), other.get_col(alias))
    conditions = [
        ownership_condition(model, at)
        for model, at, column in ((field.model, related_alias, own), (field.remote_field.model, alias, other))
        if column is not None and at is not None
    ]
    return WhereNode(conditions, AND) if conditions else None


class _OrganizationAttribute(ForeignKeyDeferredAttribute):
    """``organization_id`` of an instance, which remembers the value that it was read with.

    A row cannot be taken over by assigning another organization to a loaded instance. The value is stored when it
    changes and not by ``from_db``, which would cost time for every row that is read.
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
    """The organization that owns a row. Joins from the organization to its rows return the active one's only."""

    descriptor_class = _OrganizationAttribute

    def __init__(self, to: Any = None, on_delete: Any = models.CASCADE, **kwargs: Any) -> None:
        kwargs = {"setting": "TENANCY_ORGANIZATION_MODEL", "inherited": True, **kwargs}
        super().__init__(to, on_delete=across_organizations(on_delete), **kwargs)

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        kwargs["on_delete"] = declared_on_delete(kwargs["on_delete"])
        return name, path, args, kwargs

    def get_extra_restriction(self, alias: str | None, related_alias: str) -> Any:
        return JoinedInCurrentTenant(self.get_col(related_alias))


class TenantForeignKey(models.ForeignKey):  # type: ignore[type-arg]  # as generic as Django's own
    """A foreign key of a tenant model, to another tenant model or to one that no organization owns (a user).

    Between tenant models, a join also compares the organizations. From any other model, joins return the active
    organization's rows only, and deleting its row cascades to the rows of every organization.
    """

    declared: ClassVar[type[models.Field[Any, Any]]] = models.ForeignKey
    """The field class that migrations contain."""

    def __init__(self, to: Any, on_delete: Any, **kwargs: Any) -> None:
        super().__init__(to, on_delete, **kwargs)

    def contribute_to_related_class(self, cls: type[models.Model], related: Any) -> None:
        super().contribute_to_related_class(cls, related)
        if organization_column(cls) is None:
            self.remote_field.on_delete = across_organizations(cast("OnDelete", self.remote_field.on_delete))

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, _, args, kwargs = super().deconstruct()
        kwargs["on_delete"] = declared_on_delete(kwargs["on_delete"])
        return name, f"django.db.models.{self.declared.__name__}", list(args), dict(kwargs)

    def get_extra_restriction(self, alias: str | None, related_alias: str | None) -> Any:
        return join_condition(self, alias, related_alias)


class TenantOneToOneField(TenantForeignKey, models.OneToOneField):  # type: ignore[type-arg]  # as Django's own two
    """A ``TenantForeignKey`` that is unique."""

    declared = models.OneToOneField
