from __future__ import annotations

from typing import Any

from django.core.exceptions import FullResultSet
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Combinable, Expression, F
from django.db.models.sql.compiler import SQLCompiler

from dovetail_tenancy.scope import Scope, require_scope


class InCurrentTenant(Expression):
    """The condition that a row belongs to the active organization, decided when SQL is compiled.

    Decided when the queryset is built, it would stay with whoever built it: a class-level queryset imported during
    one organization's request would show that organization's rows to everybody after.
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
        value = self.organization.output_field.get_db_prep_value(scope.organization_id, connection)
        return f"{column} = %s", (*params, value)

    def scope(self, compiler: SQLCompiler) -> Scope:
        """What a pinned queryset was bound to, else what is active now."""
        pinned: Scope | None = getattr(compiler.query, "tenancy_scope", None)
        return pinned or require_scope(f"A query on {self.organization.target.model._meta.label}")


class JoinedInCurrentTenant(InCurrentTenant):
    """The same condition on a joined table, where Django has no place for "always true"."""

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra_context: Any) -> tuple[str, Any]:
        try:
            return super().as_sql(compiler, connection, **extra_context)
        except FullResultSet:
            return "1 = 1", ()
