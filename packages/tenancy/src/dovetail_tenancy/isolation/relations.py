"""Conditions for joins that the author of a tenant model does not declare.

These are many-to-many tables, which Django creates; generic relations, which have no field class of ours; and foreign
keys of other apps, third-party apps included.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any, TypeAlias

from django.apps import apps
from django.db import models
from django.db.models.fields.related import ForeignObject
from django.db.models.sql.where import AND, WhereNode

from dovetail_tenancy.isolation.fields import (
    Key,
    OrganizationForeignKey,
    TenantForeignKey,
    cascade_across_organizations,
    join_condition,
    organization_column,
    ownership_condition,
    with_declared_on_delete,
)
from dovetail_tenancy.isolation.querysets import OwnedByCurrentTenant, TenantQuerySet
from dovetail_tenancy.isolation.scope import TenantMismatch, require_scope, unscoped

Relation: TypeAlias = "ForeignObject[Any, Any]"


def restrict_relations() -> None:
    """Add the organization's condition to every relation of the installed models that leads to a tenant model."""
    for model in apps.get_models(include_auto_created=True):
        if model._meta.auto_created and linked_owners(model):
            _restrict_link(model)
        else:
            _restrict_foreign_keys(model)
        for field in model._meta.private_fields:
            # How Django's collector recognizes a generic relation; contenttypes may not be installed.
            if hasattr(field, "bulk_related_objects"):
                _restrict_generic_relation(field)


def _restrict_foreign_keys(model: type[models.Model]) -> None:
    own = organization_column(model)
    for field in model._meta.local_fields:
        if not isinstance(field, models.ForeignKey) or isinstance(field, OrganizationForeignKey | TenantForeignKey):
            continue
        # The author of a tenant model declares its foreign keys (E004, W002), but not the link to its parent.
        target = organization_column(field.remote_field.model)
        parent_without_owner = own and not target and field.remote_field.parent_link
        if parent_without_owner or (target and not own):
            field.get_extra_restriction = partial(join_condition, field)  # type: ignore[method-assign]
        if parent_without_owner:
            cascade_across_organizations(field)
            field.deconstruct = partial(_deconstruct, field.deconstruct)  # type: ignore[method-assign]


def _deconstruct(deconstruct: Callable[[], Any]) -> Any:
    name, path, args, kwargs = deconstruct()
    return name, path, args, with_declared_on_delete(kwargs)


def linked_owners(link: type[models.Model]) -> dict[Key, OrganizationForeignKey]:
    """Return the foreign keys of a many-to-many table to tenant models, with these models' organization columns."""
    keys = (field for field in link._meta.local_fields if isinstance(field, models.ForeignKey))
    columns = {field: organization_column(field.remote_field.model) for field in keys}
    return {field: column for field, column in columns.items() if column is not None}


def _restrict_link(link: type[models.Model]) -> None:
    owners = linked_owners(link)
    for field in link._meta.local_fields:
        if isinstance(field, models.ForeignKey):
            field.get_extra_restriction = partial(_link_condition, field)  # type: ignore[method-assign]
            if field not in owners:
                cascade_across_organizations(field)
    # Related managers read and write the table by its default manager, and count by its base manager.
    link._meta.local_managers.clear()
    link._meta.base_manager_name = "objects"
    link.add_to_class("objects", LinkManager())
    link.save_base = _save_link  # type: ignore[method-assign]


def _link_condition(field: Key, alias: str | None, related_alias: str) -> WhereNode:
    """Return the condition on the rows at both ends of a link: on the joined row itself at this field's end."""
    conditions: list[Any] = [
        ownership_condition(key.remote_field.model, owner, alias)
        if key is field and alias is not None
        else OwnedByCurrentTenant(key.get_col(related_alias), owner)
        for key, owner in linked_owners(field.model).items()
    ]
    return WhereNode(conditions, AND)


def _save_link(self: models.Model, *args: Any, **kwargs: Any) -> None:
    _refuse_foreign_ends(type(self), [self], kwargs.get("using"))
    models.Model.save_base(self, *args, **kwargs)


def _refuse_foreign_ends(link: type[models.Model], rows: Collection[models.Model], using: str | None) -> None:
    """Raise ``TenantMismatch`` if a link points at another organization's row.

    A link to a guessed key would reveal whether the row exists, and would count among its links.
    """
    scope = require_scope(f"Linking a {link._meta.label}")
    if scope.everything:
        return
    for field in linked_owners(link):
        target = field.remote_field.model
        keys = {getattr(row, field.attname) for row in rows}
        visible = target._base_manager.using(using).filter(**{f"{field.target_field.name}__in": keys})
        if visible.count() < len(keys):
            raise TenantMismatch(
                f"{link._meta.label} cannot link a {target._meta.label} that does not belong to the active "
                f"organization, {scope.organization_id}."
            )


class LinkQuerySet(TenantQuerySet[Any]):
    def bulk_create(self, objs: Iterable[models.Model], *args: Any, **kwargs: Any) -> list[Any]:
        rows = list(objs)
        with self._bound():
            _refuse_foreign_ends(self.model, rows, self.db)
            # Not TenantQuerySet's, which would assign an organization to each row.
            return models.QuerySet.bulk_create(self, rows, *args, **kwargs)

    def update(self, **kwargs: Any) -> int:
        if not self._scope("An update").everything:
            raise TenantMismatch(f"Rows of {self.model._meta.label} cannot be updated. Remove and add them instead.")
        return super().update(**kwargs)


class LinkManager(models.Manager.from_queryset(LinkQuerySet)):  # type: ignore[misc]  # built by Django at import
    def get_queryset(self) -> Any:
        owners = linked_owners(self.model).items()
        return super().get_queryset().filter(*(OwnedByCurrentTenant(field.name, owner) for field, owner in owners))


def _restrict_generic_relation(field: Any) -> None:
    own, other = organization_column(field.model), organization_column(field.remote_field.model)
    if own or other:
        field.get_extra_restriction = partial(_generic_condition, field, field.get_extra_restriction)
    if other and not own:
        field.bulk_related_objects = partial(_related_across_organizations, field, field.bulk_related_objects)


def _generic_condition(field: Relation, content_type: Callable[..., Any], alias: str | None, remote_alias: str) -> Any:
    conditions: list[Any] = [
        ownership_condition(model, owner, at)
        for model, at in ((field.model, alias), (field.remote_field.model, remote_alias))
        if at is not None and (owner := organization_column(model)) is not None
    ]
    return WhereNode([content_type(alias, remote_alias), *conditions], AND)


def _related_across_organizations(field: Relation, related: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    # A row that no organization owns is deleted with the rows that every organization attached to it.
    with unscoped(reason=f"deletion of {field.model._meta.label}"):
        return related(*args, **kwargs).pinned()
