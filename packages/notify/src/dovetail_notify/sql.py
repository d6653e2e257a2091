"""SQL that the ORM compiles once and that is executed many times (see ``dovetail_core.sql``).

``fetch()`` runs the queries of the inbox and of preferences. Compiling the same SQL again takes a quarter of the time
of an inbox page, and nine tenths of that of a notification. ``InsertSelect`` writes any number of rows.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import copy
from itertools import count
from typing import Any, Final, TypeAlias

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db import connections, router
from django.db.models import NOT_PROVIDED, BooleanField, Field, Func, Manager, Model, QuerySet, Value
from django.db.models.constants import OnConflict

from dovetail_core.conf import cached_until_settings_change
from dovetail_core.sql import CompiledQuery, Placeholder, bind, compiled

Values: TypeAlias = Mapping[str, Any]
QuerySets: TypeAlias = Mapping[str, QuerySet[Any]]

_SINGLE: Final = "single"
_SIMPLE: Final = re.compile(r"[a-z0-9_.*]*")


def fetch(
    model: type[Model],
    build: Callable[..., QuerySet[Any]],
    constants: tuple[Hashable, ...],
    values: Sequence[tuple[str, Any]],
    *,
    read: Callable[[CompiledQuery, Sequence[Any]], list[Any]] = CompiledQuery.rows,
    using: str | None = None,
) -> list[Any]:
    """Return the rows of ``build(*constants, *values)``, which must return a ``values_list()``. Runs one query.

    Each of ``values`` is a pair of a field name and a value of that field. The value may be a single value, a tuple of
    any length, or None, which selects another condition. Pass ``CompiledQuery.instances`` as ``read`` for instances.
    """
    arguments = [value for _, value in values]
    # A project's own default manager may select different rows for each request.
    if type(model._default_manager) is not Manager:
        return list(build(*constants, *arguments).using(using))
    shape: list[tuple[str, int | str | None]] = []
    parameters: list[Any] = []
    for name, value in values:
        if value is None:
            shape.append((name, None))
        elif isinstance(value, tuple):
            shape.append((name, len(value)))
            parameters += value
        else:
            shape.append((name, _SINGLE))
            parameters.append(value)
    alias = using or router.db_for_read(model)
    query = compiled(_with_placeholders, model, build, constants, tuple(shape), using=alias)
    return read(query, parameters)


def _with_placeholders(
    model: type[Model],
    build: Callable[..., QuerySet[Any]],
    constants: tuple[Hashable, ...],
    shape: tuple[tuple[str, int | str | None], ...],
) -> QuerySet[Any]:
    """Build the queryset with placeholders in place of the values. Their names are positions in ``parameters``."""
    arguments: list[Placeholder | tuple[Placeholder, ...] | None] = []
    positions = count()
    for name, length in shape:
        field: Any = model._meta.pk if name == "pk" else model._meta.get_field(name)
        if isinstance(length, int):
            arguments.append(tuple(Placeholder(next(positions), field) for _ in range(length)))
        else:
            arguments.append(None if length is None else Placeholder(next(positions), field))
    return build(*constants, *arguments)


class QuerySetPlaceholder(Func):
    """A condition that stands for a queryset, which each execution passes under ``name``.

    Without ``key``, it is the queryset's own WHERE clause. With an expression as ``key``, the condition is that the
    expression equals the key of one of the queryset's rows.
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

    def compile_queryset(self, rows: QuerySet[Any], using: str) -> Any:
        """Return the SQL and the parameters of a queryset. Raise ``EmptyResultSet`` if it selects no rows."""
        query: Any = rows.query
        if not self.source_expressions:
            try:
                return query.get_compiler(using).compile(query.where)
            except FullResultSet:
                return "1 = 1", ()
        # As Django compiles a queryset for an __in lookup.
        query = query.chain()
        if not query.has_select_fields:
            query.clear_select_clause()
            query.add_fields(["pk"])
        query.clear_ordering(clear_default=True)
        return query.get_compiler(using).as_sql()


class InsertSelect:
    """``INSERT INTO model (…) SELECT … UNION ALL SELECT …``.

    Each of ``parts`` is a queryset and a mapping of field names to expressions, placeholders or values.
    """

    def __init__(
        self,
        model: type[Model],
        parts: Sequence[tuple[QuerySet[Any], Values]],
        using: str,
        *,
        ignore_conflicts: bool = False,
    ) -> None:
        self.sql = ""
        self.parameters: list[Any] = []
        #: Whether a second statement is part of this one.
        self.has_second = False
        operations = connections[using].ops
        options: Any = model._meta
        self._table, self._key = operations.quote_name(options.db_table), operations.quote_name(options.pk.column)
        self._returning = f" RETURNING {self._key}"
        names = parts[0][1] if parts else {}
        fields = [field for field in options.concrete_fields if field.name in names]
        selects = []
        for rows, columns in parts:
            annotations = {f"dovetail_{field.column}": as_expression(columns[field.name], field) for field in fields}
            compiler = rows.annotate(**annotations).values_list(*annotations).query.get_compiler(using)
            with contextlib.suppress(EmptyResultSet):  # Django knows without a query that there are no rows
                sql, parameters = _with_literals(*compiler.as_sql())
                for alias in annotations:  # the database need not parse them
                    sql = sql.replace(f" AS {operations.quote_name(alias)}", "")
                selects.append(sql)
                self.parameters += parameters
        if not selects:
            return
        conflict = OnConflict.IGNORE if ignore_conflicts else None
        clauses = (
            operations.insert_statement(on_conflict=conflict),
            self._table,
            f"({', '.join(operations.quote_name(field.column) for field in fields)})",
            " UNION ALL ".join(selects),
            operations.on_conflict_suffix_sql(fields, conflict, [], []) if conflict else "",
        )
        self.sql = " ".join(filter(None, clauses))

    def followed_by(self, second: InsertSelect, *columns: str, returning_keys: bool) -> InsertSelect:
        """Return one statement that executes this one and then ``second``, on PostgreSQL.

        In ``second``, the table of this statement means the rows that it inserts, with their keys and ``columns``: the
        name of a common table expression takes precedence over that of a table. The result is the keys of these rows,
        or else their number and the lowest key.
        """
        if not self.sql:
            return self
        both = copy(self)
        both.has_second = True
        result = self._key if returning_keys else f"count(*), min({self._key})"
        returned = ", ".join([self._key, *columns])
        inserted = f"WITH {self._table} AS ({self.sql} RETURNING {returned})"
        if second.sql:
            inserted = f"{inserted}, dovetail_second AS ({second.sql})"
        both.sql = f"{inserted} SELECT {result} FROM {self._table}"  # noqa: S608  # quoted names of a model
        both._returning = ""
        both.parameters = [*self.parameters, *second.parameters]
        return both

    def execute(self, using: str, values: Values, querysets: QuerySets) -> int:
        """Insert the rows and return their number. ``values`` and ``querysets`` fill the placeholders."""
        sql, parameters = self._bind(using, values, querysets)
        if not sql:
            return 0
        with connections[using].cursor() as cursor:
            cursor.execute(sql, parameters)
            return max(int(cursor.rowcount), 0)

    def execute_returning_keys(self, using: str, values: Values, querysets: QuerySets) -> list[int]:
        """Insert the rows and return their keys, on databases that support ``RETURNING``."""
        sql, parameters = self._bind(using, values, querysets)
        if not sql:
            return []
        with connections[using].cursor() as cursor:
            cursor.execute(sql + self._returning, parameters)
            return [key for (key,) in cursor.fetchall()]

    def execute_returning_range(self, using: str, values: Values, querysets: QuerySets) -> tuple[int, int]:
        """Insert the rows of both statements, and return the number of this one's rows and their lowest key, or 0."""
        sql, parameters = self._bind(using, values, querysets)
        if not sql:
            return 0, 0
        with connections[using].cursor() as cursor:
            cursor.execute(sql, parameters)
            number, lowest = cursor.fetchone()
            return number, lowest or 0

    def _bind(self, using: str, values: Values, querysets: QuerySets) -> tuple[str, list[Any]]:
        """Return the SQL and the parameters of one execution. The SQL is empty if there are no rows to insert."""
        sql, parameters = self.sql, []
        for parameter in self.parameters if querysets else ():
            if isinstance(parameter, QuerySetPlaceholder):
                try:
                    text, inner = parameter.compile_queryset(querysets[parameter.name], using)
                except EmptyResultSet:
                    return "", []
                sql = sql.replace(parameter.marker, text)
                parameters += inner
            else:
                parameters.append(parameter)
        return sql, bind(parameters if querysets else self.parameters, values, connections[using])


def _with_literals(sql: str, parameters: Sequence[Any]) -> tuple[str, list[Any]]:
    """Write numbers and simple strings into the SQL, because each parameter costs the driver some microseconds."""
    pieces = sql.split("%s")
    if len(pieces) != len(parameters) + 1:  # an escaped percent sign before an s
        return sql, list(parameters)
    text, rest = pieces[0], list[Any]()
    for parameter, piece in zip(parameters, pieces[1:], strict=True):
        is_text = type(parameter) is str and _SIMPLE.fullmatch(parameter)
        if is_text or (isinstance(parameter, int) and not isinstance(parameter, bool)):
            text += f"'{parameter}'{piece}" if is_text else f"{int(parameter)}{piece}"
        else:
            text += f"%s{piece}"
            rest.append(parameter)
    return text, rest


def as_expression(value: object, field: Field[Any, Any]) -> Any:
    return value if hasattr(value, "resolve_expression") else Value(value, output_field=field)


def python_defaults(model: type[Model], columns: Values) -> dict[str, Any]:
    """Return the Python default of each field that is not in ``columns`` and that the database does not fill."""
    return {field.name: field.get_default() for field in _fields_with_defaults(model, tuple(columns))}


@cached_until_settings_change
def _fields_with_defaults(model: type[Model], without: tuple[str, ...]) -> list[Field[Any, Any]]:
    return [
        field
        for field in model._meta.concrete_fields
        if field.name not in without
        and not (field.primary_key or field.null or getattr(field, "generated", False))
        and getattr(field, "db_default", NOT_PROVIDED) is NOT_PROVIDED
    ]
