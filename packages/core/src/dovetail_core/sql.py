"""Queries that the ORM compiles once.

To build and compile a query costs a multiple of its execution where the row is found by an index (measured: 145 of 165
microseconds of an API key's look-up on SQLite), and yields the same SQL each time. A compiled query keeps the SQL and
puts the values of each call in place of its placeholders::

    def by_prefix(model, columns):
        prefix = Placeholder("prefix", model._meta.get_field("key_prefix"))
        return model._base_manager.filter(key_prefix=prefix).only(*columns)


    row = compiled(by_prefix, APIKey, ("id", "scopes"), using="default").first({"prefix": "ab12"})

The ORM still writes the SQL, so projects' own columns, key types and databases work. The cache is keyed by the
function, its arguments, the database alias and its vendor, and is cleared whenever a setting changes.

Compile no query whose *conditions* depend on more than the function's arguments. A project's default manager may filter
by the current tenant or user: use ``_base_manager``, or compile only where the default manager is Django's own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import AutoField, BigIntegerField, Field, Model, QuerySet, Value
from django.db.models.query import ModelIterable

from dovetail_core.conf import cached_until_settings_change

T = TypeVar("T")

#: Values by the names of their placeholders; a sequence where the names are indexes.
Values: TypeAlias = Mapping[Any, Any] | Sequence[Any]


class Placeholder(Value):
    """Stands in a query for the value ``name`` of each execution, which is prepared as ``field`` prepares it."""

    def __init__(self, name: Hashable, field: Field[Any, Any]) -> None:
        field = getattr(field, "target_field", field)  # of a foreign key
        # MySQL's AutoField refuses the value 0, even in a comparison.
        super().__init__(name, output_field=BigIntegerField() if isinstance(field, AutoField) else field)

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", [self]


def bind(parameters: Iterable[Any], values: Values, connection: Any) -> list[Any]:
    """The parameters of a compiled statement, with ``values`` in the places of its placeholders."""
    return [
        parameter.output_field.get_db_prep_value(values[parameter.value], connection)
        if isinstance(parameter, Placeholder)
        else parameter
        for parameter in parameters
    ]


def pad(values: Sequence[T]) -> list[T]:
    """The same set of values, the last one repeated up to a power of two; for ``__in`` with a placeholder for each.

    Without it, each number of values would be a query of its own to compile. Raises ``IndexError`` for no values.
    """
    length = 1 << (len(values) - 1).bit_length()
    return [*values, *[values[-1]] * (length - len(values))]


class CompiledQuery:
    """The SQL of a queryset on the database ``using``, for :meth:`rows`, :meth:`first` and :meth:`instances`.

    ``columns`` are the names of the columns of a row: fields' ``attname``, or annotations. ``unqualified`` leaves out
    the table's name before the columns where the query reads no other table, because the database parses that text on
    each execution. Raises ``ValueError`` for a queryset that fetches related objects, which takes more than its SQL.
    """

    def __init__(self, queryset: QuerySet[Any], *, using: str, unqualified: bool = False) -> None:
        query: Any = queryset.query
        if query.select_related or queryset._prefetch_related_lookups:  # type: ignore[attr-defined]  # not in the stubs
            raise ValueError("A compiled query fetches no related objects: drop select_related or prefetch_related.")
        self.using = using
        self.sql = ""
        self.parameters: Sequence[Any] = ()
        self.columns: list[str] = []
        self._converters: list[tuple[int, Callable[..., Any], Any]] = []
        # Converters are bound to the connection that a query is compiled for. A connection of the current thread would
        # live as long as the process, so this one is never opened.
        self._connection = connections.create_connection(using)
        try:
            compiler = query.get_compiler(connection=self._connection)
            self.sql, self.parameters = compiler.as_sql()
            if unqualified:
                self._drop_table_name(compiler.query)
            self.columns = [
                alias if alias in compiler.query.annotation_select else column.target.attname
                for column, _, alias in compiler.select
            ]
            converters = compiler.get_converters([column for column, _, _ in compiler.select])
            for index, (functions, expression) in converters.items():
                self._converters += [(index, function, expression) for function in functions]
        except EmptyResultSet:  # a condition that no row meets, such as Q(pk__in=[])
            pass
        finally:
            self._connection.close()
        self._model: type[Model] | None = None
        if queryset._iterable_class is ModelIterable and not query.annotation_select:
            self._model = queryset.model

    def rows(self, values: Values = ()) -> list[list[Any]]:
        """All rows, in the Python types of their fields. One statement; none where no row can meet the conditions."""
        return self._fetch(values, lambda cursor: cursor.fetchall())

    def first(self, values: Values = ()) -> list[Any] | None:
        """The first row that the database returns, or None."""
        rows = self._fetch(values, lambda cursor: [row] if (row := cursor.fetchone()) is not None else [])
        return rows[0] if rows else None

    def instances(self, values: Values = ()) -> list[Any]:
        """All rows as instances of the model. Raises ``TypeError`` where the rows are no plain instances."""
        if self._model is None:
            raise TypeError("The rows of this query are no plain instances of a model. Call rows() instead.")
        return [self._model.from_db(self.using, self.columns, row) for row in self.rows(values)]

    def _fetch(self, values: Values, fetch: Callable[[Any], Iterable[Sequence[Any]]]) -> list[list[Any]]:
        if not self.sql:
            return []
        connection = connections[self.using]
        # Django's cursor, for the project's query logs, instrumentation and execute wrappers.
        with connection.cursor() as cursor:
            cursor.execute(self.sql, bind(self.parameters, values, connection))
            rows = [list(row) for row in fetch(cursor)]
        for index, convert, expression in self._converters:
            for row in rows:
                row[index] = convert(row[index], expression, self._connection)
        return rows

    def _drop_table_name(self, query: Any) -> None:
        # A single condition: a second one may hold a subquery that refers to this table by its name.
        if len(query.alias_map) == len(query.where.children) == 1 and not query.annotations:
            table = self._connection.ops.quote_name(query.model._meta.db_table)
            self.sql = self.sql.replace(f"{table}.", "")


def compiled(
    build: Callable[..., QuerySet[Any]], *arguments: Hashable, using: str, unqualified: bool = False
) -> CompiledQuery:
    """The compiled form of ``build(*arguments)`` on the database ``using``, compiled at its first use.

    ``build`` is a function of a module: one that is created for each call would be compiled each time. Its arguments
    are everything that shapes the query: the model, columns, directions, the number of values in a list.
    """
    return _compiled(build, arguments, using, connections[using].vendor, unqualified)


@cached_until_settings_change
def _compiled(
    build: Callable[..., QuerySet[Any]], arguments: tuple[Hashable, ...], using: str, vendor: str, unqualified: bool
) -> CompiledQuery:
    return CompiledQuery(build(*arguments), using=using, unqualified=unqualified)


def once(build: Callable[..., T], *arguments: Hashable, using: str) -> T:
    """What ``build(*arguments, using)`` returns, built at its first use: for statements other than a queryset's.

    The key is the same as that of :func:`compiled`. Such a statement binds its values with :func:`bind`.
    """
    statement: T = _once(build, arguments, using, connections[using].vendor)
    return statement


@cached_until_settings_change
def _once(build: Callable[..., Any], arguments: tuple[Hashable, ...], using: str, vendor: str) -> Any:
    return build(*arguments, using)
