"""``INSERT … SELECT`` statements, compiled by the ORM: the database makes the rows for any number of recipients."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db import connections
from django.db.models import NOT_PROVIDED, BooleanField, Field, Func, Model, QuerySet, Value
from django.db.models.constants import OnConflict

from dovetail_core.sql import bind

_NO_QUERYSETS: Final[Mapping[str, QuerySet[Any]]] = {}


class QuerySetPlaceholder(Func):
    """The position of a queryset that each execution supplies under ``name``.

    Without arguments the condition is the queryset's own WHERE clause. With one expression the condition is that the
    expression is the key of one of the queryset's rows.
    """

    output_field = BooleanField()

    def __init__(self, name: str, *key: Any) -> None:
        super().__init__(*key)
        self.name = name
        # NUL occurs in no SQL that the ORM compiles.
        self.marker = f"\0{name}\0"

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.source_expressions:
            return f"({self.marker})", [self]
        sql, parameters = compiler.compile(self.source_expressions[0])
        return f"{sql} IN ({self.marker})", [*parameters, self]

    def compiled(self, rows: QuerySet[Any], using: str) -> Any:
        return _subquery(rows, using) if self.source_expressions else _condition(rows, using)


class InsertSelect:
    """``INSERT INTO model (…) SELECT … UNION ALL SELECT …``.

    ``parts`` are pairs: a queryset, and a mapping of field names to expressions, placeholders or values. The compiled
    SQL has a parameter for every value and contains none itself.
    """

    def __init__(
        self,
        model: Any,
        parts: Sequence[tuple[QuerySet[Any], Mapping[str, Any]]],
        using: str,
        *,
        ignore_conflicts: bool = False,
    ) -> None:
        self.sql, self.parameters = "", []
        self.key_column = model._meta.pk.column
        connection = connections[using]
        fields = [field for field in model._meta.concrete_fields if field.name in parts[0][1]]
        selects = []
        for rows, columns in parts:
            annotations = {f"dovetail_{field.column}": as_expression(columns[field.name], field) for field in fields}
            compiler = rows.annotate(**annotations).values_list(*annotations).query.get_compiler(using)
            with contextlib.suppress(EmptyResultSet):  # Django knows without a query that there are no rows
                sql, parameters = compiler.as_sql()
                selects.append(sql)
                self.parameters += parameters
        if not selects:
            return
        conflict = OnConflict.IGNORE if ignore_conflicts else None
        quote = connection.ops.quote_name
        clauses = (
            connection.ops.insert_statement(on_conflict=conflict),
            quote(model._meta.db_table),
            f"({', '.join(quote(field.column) for field in fields)})",
            " UNION ALL ".join(selects),
            connection.ops.on_conflict_suffix_sql(fields, conflict, [], []) if conflict else "",
        )
        self.sql = " ".join(filter(None, clauses))

    def execute(
        self, using: str, values: Mapping[str, Any], querysets: Mapping[str, QuerySet[Any]] = _NO_QUERYSETS
    ) -> int:
        """Insert the rows and return their number. ``values`` and ``querysets`` fill the placeholders."""
        count: int = self._execute(using, values, querysets, "", lambda cursor: max(int(cursor.rowcount), 0)) or 0
        return count

    def execute_returning_keys(
        self, using: str, values: Mapping[str, Any], querysets: Mapping[str, QuerySet[Any]]
    ) -> list[Any]:
        """Insert the rows and return their keys, on databases that support ``RETURNING``."""
        returning = f" RETURNING {connections[using].ops.quote_name(self.key_column)}"
        keys = self._execute(using, values, querysets, returning, lambda cursor: [key for (key,) in cursor.fetchall()])
        return keys or []

    def _execute(
        self,
        using: str,
        values: Mapping[str, Any],
        querysets: Mapping[str, QuerySet[Any]],
        returning: str,
        read: Callable[[Any], Any],
    ) -> Any:
        connection = connections[using]
        sql, parameters = self.sql, []
        if not sql:
            return None
        for parameter in self.parameters:
            if isinstance(parameter, QuerySetPlaceholder):
                try:
                    text, inner = parameter.compiled(querysets[parameter.name], using)
                except EmptyResultSet:
                    return None
                sql = sql.replace(parameter.marker, text)
                parameters += inner
            else:
                parameters.append(parameter)
        with connection.cursor() as cursor:
            cursor.execute(sql + returning, bind(parameters, values, connection))
            return read(cursor)


def as_expression(value: Any, field: Any) -> Any:
    return value if hasattr(value, "resolve_expression") else Value(value, output_field=field)


def python_defaults(model: type[Model], columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the default of every field that is not in ``columns`` and has no default in the database."""
    return {
        field.name: field.get_default()
        for field in model._meta.concrete_fields
        if field.name not in columns and _needs_value(field)
    }


def _needs_value(field: Field[Any, Any]) -> bool:
    if field.primary_key or field.null or getattr(field, "generated", False):
        return False
    return getattr(field, "db_default", NOT_PROVIDED) is NOT_PROVIDED


def _condition(rows: QuerySet[Any], using: str) -> Any:
    """Compile the WHERE clause of a queryset on one table, which the statement calls by the same name."""
    try:
        return rows.query.get_compiler(using).compile(rows.query.where)
    except FullResultSet:
        return "1 = 1", ()


def _subquery(rows: QuerySet[Any], using: str) -> Any:
    """Compile a queryset as Django does for an ``__in`` lookup."""
    query = rows.query.chain()
    if not query.has_select_fields:
        query.clear_select_clause()
        query.add_fields(["pk"])
    query.clear_ordering(clear_default=True)
    return query.get_compiler(using).as_sql()
