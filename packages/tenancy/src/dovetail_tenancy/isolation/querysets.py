"""Querysets and managers of tenant models: the SQL condition on the organization, and the rows that are written."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar, cast

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Combinable, Expression, F
from django.db.models.sql import Query
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.where import AND

from dovetail_tenancy.isolation.scope import (
    Scope,
    TenantMismatch,
    aiterate_within,
    iterate_within,
    organization_key,
    require_scope,
    within,
)

M = TypeVar("M", bound=models.Model)

MOVED_FROM = "_tenancy_moved_from"
"""The instance attribute with the organization that the row was read with, set when another one is assigned."""


class InCurrentTenant(Expression):
    """The condition that a row belongs to the active organization, evaluated when SQL is compiled.

    Evaluated when the queryset is built, it would keep the organization of that moment: a class-level queryset imported
    during one organization's request would show that organization's rows in all later requests.
    """

    conditional = True
    output_field = models.BooleanField()

    def __init__(self, organization: str | Combinable) -> None:
        super().__init__()
        self.organization: Any = F(organization) if isinstance(organization, str) else organization

    def get_source_expressions(self) -> list[Any]:
        return [self.organization]

    def set_source_expressions(self, exprs: Sequence[Combinable]) -> None:
        (self.organization,) = exprs

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra_context: Any) -> tuple[str, Any]:
        pinned: Scope | None = getattr(compiler.query, "tenancy_scope", None)
        scope = pinned or require_scope(f"A query on {self.organization_field.model._meta.label}")
        if scope.everything:
            # Not FullResultSet, which Django does not handle in the condition of a join.
            return "1 = 1", ()
        column, params = compiler.compile(self.organization)
        value = self.organization_field.get_db_prep_value(scope.organization_id, connection)
        return self.condition(column, connection), (*params, value)

    @property
    def organization_field(self) -> models.Field[Any, Any]:
        field: models.Field[Any, Any] = self.organization.target
        return field

    def condition(self, column: str, connection: BaseDatabaseWrapper) -> str:
        return f"{column} = %s"


class OwnedByCurrentTenant(InCurrentTenant):
    """The condition for a row without an organization column, whose ``key`` points at a row that has one.

    ``owner`` is the organization column of that row: the parent's for a child table, each linked row's for a
    many-to-many table.
    """

    # Not IN, for which the database would collect all of the organization's rows to find one.
    template = "EXISTS (SELECT 1 FROM {table} {alias} WHERE {alias}.{key} = {column} AND {alias}.{organization} = %s)"

    def __init__(self, key: str | Combinable, owner: models.Field[Any, Any]) -> None:
        super().__init__(key)
        self.owner = owner

    @property
    def organization_field(self) -> models.Field[Any, Any]:
        return self.owner

    def condition(self, column: str, connection: BaseDatabaseWrapper) -> str:
        quote, owner = connection.ops.quote_name, self.owner.model._meta
        return self.template.format(
            table=quote(owner.db_table),
            alias=quote("tenancy_owner"),
            key=quote(str(owner.pk.column)),
            column=column,
            organization=quote(str(self.owner.column)),
        )


def assign_organization(instance: models.Model, scope: Scope) -> None:
    """Assign the active organization to a row without one. Raise ``TenantMismatch`` for a row of another, or moved."""
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


def refuse_foreign_instances(model: type[models.Model], values: Iterable[object], scope: Scope) -> None:
    """Raise ``TenantMismatch`` for an instance of another organization. Bare keys pass: their owner costs a query."""
    if scope.everything:
        return
    for value in values:
        if isinstance(value, models.Model) and loaded_organization(value) not in (None, scope.organization_id):
            raise TenantMismatch(
                f"A {model._meta.label} of organization {scope.organization_id} cannot refer to a "
                f"{value._meta.label} of another organization."
            )


def loaded_organization(instance: models.Model) -> Any:
    """Return the organization of the row in the database, or None if the instance was neither read nor saved."""
    if instance._state.adding:
        return None
    values = instance.__dict__
    return values.get(MOVED_FROM) or values.get("organization_id")


class PinnedQuery(Query):
    """A query that is compiled and executed in the scope that it is bound to, together with its subqueries."""

    tenancy_scope: Scope

    def get_compiler(self, *args: Any, **kwargs: Any) -> SQLCompiler:
        compiler: Any = super().get_compiler(*args, **kwargs)
        for name in ("as_sql", "execute_sql"):
            setattr(compiler, name, within(self.tenancy_scope)(getattr(compiler, name)))
        return cast("SQLCompiler", compiler)


def _in_pinned_scope(method: Callable[..., Any]) -> Any:
    """Wrap a method of Django's querysets: on a pinned queryset, it runs in the scope of the pin."""

    @functools.wraps(method)
    def run(self: TenantQuerySet[Any], *args: Any, **kwargs: Any) -> Any:
        # A prefetch calls this for each row, so a queryset without a pin enters no block.
        if self._pin is None:
            return method(self, *args, **kwargs)
        with self._bound():
            return method(self, *args, **kwargs)

    return run


class TenantQuerySet(models.QuerySet[M]):
    """Rows of the organization that is active when the queryset runs."""

    # Methods that run other queries than their own: prefetching, saving, cascades, the subqueries of an UPDATE.
    _fetch_all = _in_pinned_scope(models.QuerySet._fetch_all)
    _raw_delete = _in_pinned_scope(models.QuerySet._raw_delete)
    aggregate = _in_pinned_scope(models.QuerySet.aggregate)
    count = _in_pinned_scope(models.QuerySet.count)
    create = _in_pinned_scope(models.QuerySet.create)
    delete = _in_pinned_scope(models.QuerySet.delete)
    update_or_create = _in_pinned_scope(models.QuerySet.update_or_create)

    def for_tenant(self, organization: object) -> TenantQuerySet[M]:
        """Bind the queryset to ``organization`` (an instance or a key), whatever is active when it runs."""
        return self._bound_to(Scope(organization_id=organization_key(organization)))

    def pinned(self) -> TenantQuerySet[M]:
        """Bind the queryset to the scope that is active now, to run it later or elsewhere (streaming, another thread).

        Raise ``TenantRequired`` if no scope is active.
        """
        return self._bound_to(self._scope("Pinning a query"))

    def _bound_to(self, scope: Scope) -> TenantQuerySet[M]:
        queryset = self.all()
        query = cast("PinnedQuery", queryset.query.chain(klass=PinnedQuery))
        query.tenancy_scope = scope  # Query.clone() copies it
        queryset.query = query
        return queryset

    @property
    def _pin(self) -> Scope | None:
        # Not self.query, which builds the filter of a related manager. A prefetch makes a queryset for each row, and
        # discards the filter: a seventh of the time of a list.
        return getattr(self._query, "tenancy_scope", None)  # type: ignore[attr-defined]  # not in the stubs

    def _bound(self) -> AbstractContextManager[Any]:
        return within(self._pin) if self._pin else nullcontext()

    def _scope(self, access: str) -> Scope:
        return self._pin or require_scope(f"{access} on {self.model._meta.label}")

    def _iterator(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        rows = super()._iterator(*args, **kwargs)  # type: ignore[misc]  # Django's own, not in the stubs
        return iterate_within(within(self._pin), rows) if self._pin else rows

    def aiterator(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        rows = super().aiterator(*args, **kwargs)
        return aiterate_within(within(self._pin), rows) if self._pin else rows

    def _merge_sanity_check(self, other: models.QuerySet[Any]) -> None:
        super()._merge_sanity_check(other)  # type: ignore[misc]  # Django's own, not in the stubs
        if getattr(other.query, "tenancy_scope", None) != self._pin:
            raise ValueError("Querysets that are bound to different organizations cannot be combined with &, | or ^.")

    def none(self) -> TenantQuerySet[M]:
        # Without the condition, because an empty result needs no active organization.
        queryset = self.all()
        queryset.query.clear_where()
        queryset.query.set_empty()
        return queryset

    def raw(self, *args: Any, **kwargs: Any) -> Any:
        # The SQL is the caller's own, so the only check is that a scope is active.
        self._scope("Raw SQL")
        return super().raw(*args, **kwargs)

    def update(self, **kwargs: Any) -> int:
        scope = self._scope("An update")
        if not scope.everything and kwargs.keys() & {"organization", "organization_id"}:
            raise TenantMismatch(
                f"A {self.model._meta.label} cannot be moved to another organization. In a migration that must move "
                "rows, use `with unscoped(reason=…):`."
            )
        refuse_foreign_instances(self.model, kwargs.values(), scope)
        with self._bound():
            return super().update(**kwargs)

    def bulk_create(
        self,
        objs: Iterable[M],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        update_fields: Collection[str] | None = None,
        unique_fields: Collection[str] | None = None,
    ) -> list[M]:
        scope = self._scope("A bulk_create")
        objs = list(objs)
        for instance in objs:
            assign_organization(instance, scope)
        if update_conflicts and not scope.everything and "organization" not in (unique_fields or ()):
            # ON CONFLICT (id) DO UPDATE would overwrite the row with that key, even another organization's.
            raise TenantMismatch(
                f"bulk_create(update_conflicts=True) on {self.model._meta.label} could overwrite another "
                "organization's row: unique_fields must contain 'organization'."
            )
        with self._bound():
            return super().bulk_create(
                objs, batch_size, ignore_conflicts, update_conflicts, update_fields, unique_fields
            )


class TenantManager(models.Manager.from_queryset(TenantQuerySet)):  # type: ignore[misc]  # built by Django at import
    """The default and base manager of tenant models."""

    # Historical models in migrations have Django's plain manager: a data migration sees every row.
    use_in_migrations = False

    def get_queryset(self) -> TenantQuerySet[Any]:
        queryset: TenantQuerySet[Any] = super().get_queryset()
        condition = _condition(self.model)
        if condition is None:
            # The parent of a child table has the column, and is joined.
            return queryset.filter(InCurrentTenant("organization"))
        # The result of filter() without its copy of the query and its path lookup: a tenth of a short query's time.
        queryset.query.get_initial_alias()  # the name of the table, which the condition contains
        queryset.query.where.add(condition, AND)
        return queryset


@functools.lru_cache(maxsize=256)
def _condition(model: type[models.Model]) -> InCurrentTenant | None:
    """Return the condition for a model whose own table has the column, else None.

    Queries share it, because a prefetch makes a queryset for each row. Django copies an expression before it changes
    it.
    """
    field: Any = model._meta.get_field("organization")
    if field.model._meta.db_table != model._meta.db_table:
        return None
    return InCurrentTenant(field.get_col(model._meta.db_table))
