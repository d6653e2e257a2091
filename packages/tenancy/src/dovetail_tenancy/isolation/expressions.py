"""SQL conditions on the active organization."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import FullResultSet
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

    def set_source_expressions(self, exprs: Any) -> None:
        (self.organization,) = exprs

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra_context: Any) -> tuple[str, Any]:
        scope = self.scope(compiler)
        if scope.everything:
            raise FullResultSet
        column, params = compiler.compile(self.organization)
        return self.condition(column, connection), (*params, self.prepared(scope.organization_id, connection))

    @property
    def owned(self) -> type[models.Model]:
        """The model whose rows the organization owns."""
        model: type[models.Model] = self.organization.target.model
        return model

    def condition(self, column: str, connection: BaseDatabaseWrapper) -> str:
        return f"{column} = %s"

    def prepared(self, organization_id: Any, connection: BaseDatabaseWrapper) -> Any:
        return self.organization.output_field.get_db_prep_value(organization_id, connection)

    def scope(self, compiler: SQLCompiler) -> Scope:
        """Return the scope that a pinned queryset is bound to, else the active one."""
        pinned: Scope | None = getattr(compiler.query, "tenancy_scope", None)
        return pinned or require_scope(f"A query on {self.owned._meta.label}")


class JoinedInCurrentTenant(InCurrentTenant):
    """The same condition on a joined table, where Django does not handle ``FullResultSet``."""

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra_context: Any) -> tuple[str, Any]:
        try:
            return super().as_sql(compiler, connection, **extra_context)
        except FullResultSet:
            return "1 = 1", ()


class OwnedByCurrentTenant(JoinedInCurrentTenant):
    """The condition for a row without an organization column: the row that its ``key`` points at has one.

    ``owner`` is the organization column of that row: the parent's for a child table, each linked row's for a
    many-to-many table.
    """

    # Not IN, for which the database would collect all of the organization's rows to find one.
    template = "EXISTS (SELECT 1 FROM {table} {alias} WHERE {alias}.{key} = {column} AND {alias}.{organization} = %s)"

    def __init__(self, key: str | Combinable, owner: Any) -> None:
        super().__init__(key)
        self.owner = owner

    @property
    def owned(self) -> type[models.Model]:
        model: type[models.Model] = self.owner.model
        return model

    def condition(self, column: str, connection: BaseDatabaseWrapper) -> str:
        quote = connection.ops.quote_name
        return self.template.format(
            table=quote(self.owned._meta.db_table),
            alias=quote("tenancy_owner"),
            key=quote(str(self.owned._meta.pk.column)),
            column=column,
            organization=quote(self.owner.column),
        )

    def prepared(self, organization_id: Any, connection: BaseDatabaseWrapper) -> Any:
        return self.owner.get_db_prep_value(organization_id, connection)


class SameTenant(Expression):
    """The condition that two joined rows belong to the same organization, whichever it is."""

    conditional = True
    output_field = models.BooleanField()

    def __init__(self, one: Any, other: Any) -> None:
        super().__init__()
        self.columns = [one, other]

    def get_source_expressions(self) -> list[Any]:
        return self.columns

    def set_source_expressions(self, exprs: Any) -> None:
        self.columns = list(exprs)

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra_context: Any) -> tuple[str, Any]:
        (one, params), (other, more) = map(compiler.compile, self.columns)
        return f"{one} = {other}", (*params, *more)
