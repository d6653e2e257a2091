"""Queries that the ORM compiles only once.

Building and compiling a query takes much longer than its execution if the database finds the row by an index
(measured: 145 of 165 microseconds to look up an API key on SQLite), and produces the same SQL each time. A compiled
query keeps the SQL and replaces its placeholders by the values of each call. The ORM still writes the SQL, so it works
with every column, key type and database of a project. :func:`compiled` caches queries until a setting changes, keyed by
the function that builds the queryset, its arguments, the database alias and its vendor.

The conditions must depend only on the arguments of the function. Use ``_base_manager``, because a default manager may
filter by the current tenant or user, or ask :func:`is_plain` first.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from types import FunctionType
from typing import Any, Final, TypeAlias, TypeVar

from django.core.exceptions import EmptyResultSet
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import AutoField, BigIntegerField, Field, Manager, Model, QuerySet, Value
from django.db.models.constants import OnConflict
from django.db.models.query import ModelIterable
from django.db.models.sql import InsertQuery, UpdateQuery
from django.db.models.sql.compiler import SQLCompiler

from dovetail_core.conf import cached_until_settings_change

T = TypeVar("T")

#: Maps the names of placeholders to values. A sequence if the names are indexes.
Values: TypeAlias = Mapping[Any, Any] | Sequence[Any]

_SOURCE: Final = re.compile(r"\b(?:FROM|JOIN) (\S+)")
_METHODS: Final = [
    (kind, [name for name, _ in inspect.getmembers_static(kind, lambda it: isinstance(it, FunctionType | property))])
    for kind in (Manager, QuerySet)
]


class Placeholder(Value):
    """An expression for a value that is passed to each execution under ``name``, and prepared by ``field``."""

    #: The field that an update sets to the value. None in conditions.
    assigns: str | None = None

    def __init__(self, name: Hashable, field: Field[Any, Any]) -> None:
        field = getattr(field, "target_field", field)
        # On MySQL, AutoField rejects the value 0, even in comparisons.
        super().__init__(name, output_field=BigIntegerField() if isinstance(field, AutoField) else field)

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> Any:
        return "%s", [self]

    def assigning(self, name: str) -> Placeholder:
        place = self.copy()
        place.assigns = name
        return place

    def prepare(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        field: Any = self.output_field
        prepare = field.get_db_prep_save if self.assigns else field.get_db_prep_value
        return prepare(value, connection)


class SelectFrom(str):
    """The text of a SELECT that reads no tables but ``tables``, and calls no functions that the project has defined.

    A database backend cannot know this of other text, which may call a function or read a view. With it, the backend of
    ``dovetail_tenancy`` omits a round trip for each request.
    """

    __slots__ = ("tables",)
    tables: tuple[str, ...]


def bind(parameters: Iterable[Any], values: Values, connection: BaseDatabaseWrapper) -> list[Any]:
    """Return the parameters of a compiled statement with its placeholders replaced by ``values``."""
    return [
        parameter.prepare(values[parameter.value], connection) if isinstance(parameter, Placeholder) else parameter
        for parameter in parameters
    ]


def pad(values: Sequence[T]) -> list[T]:
    """Repeat the last value until the length is a power of two, for ``__in`` lookups with one placeholder per value.

    Otherwise, every number of values would need its own compiled query. Raises ``IndexError`` if ``values`` is empty.
    """
    length = 1 << (len(values) - 1).bit_length()
    return [*values, *[values[-1]] * (length - len(values))]


def is_plain(manager: Manager[Any]) -> bool:
    """Return whether only Django's own methods build the queries of ``manager``, so that they can be compiled once.

    A project's own ``get_queryset()`` may select other rows for each request, such as those of a tenant.
    """
    return vars(manager).keys().isdisjoint(_METHODS[0][1]) and all(
        inspect.getattr_static(kind, name) is inspect.getattr_static(own, name)
        for kind, (own, names) in zip((type(manager), manager._queryset_class), _METHODS, strict=True)  # type: ignore[attr-defined]  # not in the stubs
        for name in names
    )


class CompiledQuery:
    """The SQL of a queryset on the database ``using``.

    ``columns`` holds the names of the columns of a row: a field's ``attname``, or the name of an annotation.
    ``unqualified`` omits the table name before columns if the query reads one table only, because the database parses
    the text on each execution. With ``reads``, the models whose tables the query reads, ``sql`` is a
    :class:`SelectFrom`. Omit it if the query calls functions that the project has defined. It has no effect if the
    query reads other tables. Raises ``ValueError`` for ``select_related`` and ``prefetch_related``.
    """

    def __init__(
        self, queryset: QuerySet[Any], *, using: str, unqualified: bool = False, reads: Iterable[type[Model]] = ()
    ) -> None:
        query: Any = queryset.query
        if query.select_related or queryset._prefetch_related_lookups:  # type: ignore[attr-defined]  # not in the stubs
            raise ValueError("A compiled query cannot use select_related or prefetch_related.")
        self.using = using
        self.sql: str | SelectFrom = ""
        self.parameters: Sequence[Any] = ()
        self.columns: list[str] = []
        self._fields = slice(0)
        self._annotations: Mapping[str, int] = {}
        self._converters: list[tuple[int, Callable[..., Any], Any]] = []
        # Converters keep a reference to the connection for which the query is compiled. This connection is never
        # opened; the connection of the current thread would be kept alive as long as the process.
        self._connection = connections.create_connection(using)
        try:
            compiler = query.get_compiler(connection=self._connection)
            self.sql, self.parameters = compiler.as_sql()
            query = compiler.query
            if compiler.klass_info:
                positions = compiler.klass_info["select_fields"]
                self._fields = slice(positions[0], positions[-1] + 1)
                self._annotations = compiler.annotation_col_map
            # Only with a single condition: another one may contain a subquery that refers to this table.
            if unqualified and len(query.alias_map) == len(query.where.children) == 1 and not query.annotations:
                table = self._connection.ops.quote_name(query.model._meta.db_table)
                self.sql = self.sql.replace(f"{table}.", "")
            self.sql = _select_from(self.sql, reads, self._connection)
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
        self._model: type[Model] | None = queryset.model if queryset._iterable_class is ModelIterable else None

    def rows(self, values: Values = ()) -> list[list[Any]]:
        """Return all rows, converted to Python types. Does not query the database if no row can match."""
        return self._fetch(values, lambda cursor: cursor.fetchall())

    def first(self, values: Values = ()) -> list[Any] | None:
        """Return the first row, or None."""
        rows = self._fetch(values, lambda cursor: [row] if (row := cursor.fetchone()) is not None else [])
        return rows[0] if rows else None

    def instances(self, values: Values = ()) -> list[Any]:
        """Return all rows as model instances with their annotations. Raise ``TypeError`` for ``values()``."""
        if self._model is None:
            raise TypeError("A query with values() does not return instances. Call rows() instead.")
        names, instances = self.columns[self._fields], []
        for row in self.rows(values):
            instance: Any = self._model.from_db(self.using, names, row[self._fields])
            for name, position in self._annotations.items():
                setattr(instance, name, row[position])
            instances.append(instance)
        return instances

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


class _CompiledWrite:
    """A statement that writes, and the placeholders that it assigns."""

    def __init__(self, query: Any, assigned: Mapping[str, Placeholder], *, using: str) -> None:
        self.using = using
        self.sql: str = ""
        self.parameters: Sequence[Any] = ()
        connection = connections.create_connection(using)
        try:
            statement = query.get_compiler(connection=connection).as_sql()
        finally:
            connection.close()
        # The compiler of an INSERT returns a list.
        self.sql, self.parameters = statement[0] if isinstance(statement, list) else statement
        # An encrypted field would store the encrypted name of the placeholder.
        names = {parameter.assigns for parameter in self.parameters if isinstance(parameter, Placeholder)}
        if lost := [name for name in assigned if name not in names]:
            raise ValueError(f"No placeholders are possible for fields that convert expressions: {', '.join(lost)}.")

    def execute(self, values: Values = ()) -> int:
        """Return the number of rows."""
        connection = connections[self.using]
        with transaction.mark_for_rollback_on_error(self.using), connection.cursor() as cursor:
            cursor.execute(self.sql, bind(self.parameters, values, connection))
            number: int = cursor.rowcount
        return number


class CompiledUpdate(_CompiledWrite):
    """``queryset.update(**values)`` on the database ``using``. Names of placeholders may be in both.

    Raises ``ValueError`` for fields of parent models, and for fields that convert placeholders when they are saved.
    """

    def __init__(self, queryset: QuerySet[Any], values: Mapping[str, Any], *, using: str) -> None:
        query: Any = queryset.query.chain(UpdateQuery)
        places = _assigning(values)
        query.add_update_values({**values, **places})
        if query.related_updates:
            raise ValueError("A compiled update cannot change fields of a parent model, which are in another table.")
        super().__init__(query, places, using=using)


class CompiledInsert(_CompiledWrite):
    """The INSERT of one row on the database ``using``. With ``ignore_conflicts``, a row that exists is no error.

    ``values`` needs every field of the model, also those with a default, because a default is a new value for each row.
    Unlike ``Model.save()``, this sends no signals and does not set ``auto_now`` and ``auto_now_add``.

    Raises ``ValueError`` for a field without a value, for fields of parent models, and for fields that convert
    placeholders when they are saved. ``ignore_conflicts`` is not for MySQL and MariaDB, where it also ignores other
    errors.
    """

    def __init__(
        self, model: type[Model], values: Mapping[str, Any], *, using: str, ignore_conflicts: bool = False
    ) -> None:
        if model._meta.parents:
            raise ValueError("A compiled insert cannot write fields of a parent model, which are in another table.")
        fields = [field for field in model._meta.local_concrete_fields if not getattr(field, "generated", False)]
        if missing := [field.name for field in fields if field.name not in values]:
            raise ValueError(f"A compiled insert needs a value for each field: {', '.join(missing)}.")
        places, instance = _assigning(values), model()
        for field in fields:
            setattr(instance, field.attname, places.get(field.name, values[field.name]))
        query: Any = InsertQuery(model, on_conflict=OnConflict.IGNORE if ignore_conflicts else None)
        # Raw, because otherwise fields replace the placeholders by values of their own.
        query.insert_values(fields, [instance], raw=True)
        super().__init__(query, places, using=using)


def _assigning(values: Mapping[str, Any]) -> dict[str, Placeholder]:
    return {name: value.assigning(name) for name, value in values.items() if isinstance(value, Placeholder)}


def _select_from(sql: str, reads: Iterable[type[Model]], connection: BaseDatabaseWrapper) -> str | SelectFrom:
    tables = {ancestor._meta.db_table for model in reads for ancestor in (model, *model._meta.get_parent_list())}
    quoted = {connection.ops.quote_name(table) for table in tables}
    # Also in subqueries. Anything else than a quoted name, such as a subquery, is no declared table.
    if not tables or not quoted.issuperset(_SOURCE.findall(sql)):
        return sql
    marked = SelectFrom(sql)
    marked.tables = tuple(sorted(tables))
    return marked


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
