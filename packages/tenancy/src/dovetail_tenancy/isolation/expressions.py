"""SQL conditions on the active organization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Combinable, Expression, F
from django.db.models.sql.compiler import SQLCompiler

from dovetail_tenancy.isolation.scope import Scope, require_scope


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
