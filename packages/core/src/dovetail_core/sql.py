"""Queries that the ORM compiles only once.

Building and compiling a query takes much longer than its execution if the database finds the row by an index
(measured: 145 of 165 microseconds to look up an API key on SQLite), and produces the same SQL each time. A compiled
query keeps the SQL and replaces its placeholders by the values of each call. The ORM still writes the SQL, so it works
with every column, key type and database of a project. :func:`compiled` caches queries until a setting changes, keyed by
the function that builds the queryset, its arguments, the database alias and its vendor.

The conditions must depend only on the arguments of the function. Use ``_base_manager``, because a default manager may
filter by the current tenant or user.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import AutoField, BigIntegerField, Field, Model, QuerySet, Value
from django.db.models.query import ModelIterable
from django.db.models.sql.compiler import SQLCompiler

from dovetail_core.conf import cached_until_settings_change

T = TypeVar("T")

#: Maps the names of placeholders to values. A sequence if the names are indexes.
Values: TypeAlias = Mapping[Any, Any] | Sequence[Any]


class Placeholder(Value):
    """An expression for a value that is passed to each execution under ``name``, and prepared by ``field``."""

    def __init__(self, name: Hashable, field: Field[Any, Any]) -> None:
        field = getattr(field, "target_field", field)
        # On MySQL, AutoField rejects the value 0, even in comparisons.
        super().__init__(name, output_field=BigIntegerField() if isinstance(field, AutoField) else field)

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> Any:
        return "%s", [self]


def bind(parameters: Iterable[Any], values: Values, connection: BaseDatabaseWrapper) -> list[Any]:
    """Return the parameters of a compiled statement with its placeholders replaced by ``values``."""
    return [
        parameter.output_field.get_db_prep_value(values[parameter.value], connection)
        if isinstance(parameter, Placeholder)
        else parameter
        for parameter in parameters
    ]


def pad(values: Sequence[T]) -> list[T]:
    """Repeat the last value until the length is a power of two, for ``__in`` lookups with one placeholder per value.

    Otherwise, every number of values would need its own compiled query. Raises ``IndexError`` if ``values`` is empty.
    """
    length = 1 << (len(values) - 1).bit_length()
    return [*values, *[values[-1]] * (length - len(values))]


class CompiledQuery:
    """The SQL of a queryset on the database ``using``.

    ``columns`` holds the names of the columns of a row: a field's ``attname``, or the name of an annotation.
    ``unqualified`` omits the table name before columns if the query reads one table only, because the database parses
    the text on each execution. Raises ``ValueError`` for ``select_related`` and ``prefetch_related``.
    """

    def __init__(self, queryset: QuerySet[Any], *, using: str, unqualified: bool = False) -> None:
        query: Any = queryset.query
        if query.select_related or queryset._prefetch_related_lookups:  # type: ignore[attr-defined]  # not in the stubs
            raise ValueError("A compiled query cannot use select_related or prefetch_related.")
        self.using = using
        self.sql = ""
        self.parameters: Sequence[Any] = ()
        self.columns: list[str] = []
        self._converters: list[tuple[int, Callable[..., Any], Any]] = []
        # Converters keep a reference to the connection for which the query is compiled. This connection is never
        # opened; the connection of the current thread would be kept alive as long as the process.
        self._connection = connections.create_connection(using)
        try:
            compiler = query.get_compiler(connection=self._connection)
            self.sql, self.parameters = compiler.as_sql()
            query = compiler.query
            # Only with a single condition: another one may contain a subquery that refers to this table.
            if unqualified and len(query.alias_map) == len(query.where.children) == 1 and not query.annotations:
                table = self._connection.ops.quote_name(query.model._meta.db_table)
                self.sql = self.sql.replace(f"{table}.", "")
            self.columns = [
                alias if alias in query.annotation_select else column.target.attname
                for column, _, alias in compiler.select
            ]
            converters = compiler.get_converters([column for column, _, _ in compiler.select])
            for index, (functions, expression) in converters.items():
                self._converters += [(index, function, expression) for function in functions]
        except EmptyResultSet:  # no row can match, as with Q(pk__in=[])
            pass
        finally:
            self._connection.close()
        plain = queryset._iterable_class is ModelIterable and not query.annotation_select
        self._model: type[Model] | None = queryset.model if plain else None

    def rows(self, values: Values = ()) -> list[list[Any]]:
        """Return all rows, converted to Python types. Does not query the database if no row can match."""
        return self._fetch(values, lambda cursor: cursor.fetchall())

    def first(self, values: Values = ()) -> list[Any] | None:
        """Return the first row, or None."""
        rows = self._fetch(values, lambda cursor: [row] if (row := cursor.fetchone()) is not None else [])
        return rows[0] if rows else None

    def instances(self, values: Values = ()) -> list[Any]:
        """Return all rows as model instances. Raise ``TypeError`` for a queryset with ``values()`` or annotations."""
        if self._model is None:
            raise TypeError("A query with values() or annotations does not return instances. Call rows() instead.")
        return [self._model.from_db(self.using, self.columns, row) for row in self.rows(values)]

    def _fetch(self, values: Values, fetch: Callable[[Any], Iterable[Sequence[Any]]]) -> list[list[Any]]:
        if not self.sql:
            return []
        connection = connections[self.using]
        # Django's cursor supports query logs, instrumentation and execute wrappers of the project.
        with connection.cursor() as cursor:
            cursor.execute(self.sql, bind(self.parameters, values, connection))
            rows = [list(row) for row in fetch(cursor)]
        for index, convert, expression in self._converters:
            for row in rows:
                row[index] = convert(row[index], expression, self._connection)
        return rows


def compiled(
    build: Callable[..., QuerySet[Any]], *arguments: Hashable, using: str, unqualified: bool = False
) -> CompiledQuery:
    """Return the queryset ``build(*arguments)`` for the database ``using``, compiled on first use.

    ``build`` must be a function of a module: a function that is created for each call would be compiled each time. Pass
    it everything that changes the SQL: the model, columns, directions, the number of values in a list.
    """
    return _compiled(build, arguments, using, connections[using].vendor, unqualified)


@cached_until_settings_change
def _compiled(
    build: Callable[..., QuerySet[Any]], arguments: tuple[Hashable, ...], using: str, vendor: str, unqualified: bool
) -> CompiledQuery:
    return CompiledQuery(build(*arguments), using=using, unqualified=unqualified)


def once(build: Callable[..., T], *arguments: Hashable, using: str) -> T:
    """Return ``build(*arguments, using)``, called on first use only, for statements that are not querysets.

    Cached like :func:`compiled`. Pass the values to such a statement with :func:`bind`.
    """
    return _once(build, arguments, using, connections[using].vendor)  # type: ignore[no-any-return]  # as build returns


@cached_until_settings_change
def _once(build: Callable[..., Any], arguments: tuple[Hashable, ...], using: str, vendor: str) -> Any:
    return build(*arguments, using)
