"""Queries whose SQL the ORM compiles once.

Building and compiling the query of an inbox page takes a quarter of the page's time, and that of a notification nine
tenths, with the same SQL text every time. So the SQL is cached by everything that it depends on, and each call fills in
its own values. The ORM still converts the values of projects' own columns and keys on every database. A model whose
default manager is a project's own is queried through that manager, which may select other rows for each request.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from django.core.exceptions import EmptyResultSet
from django.core.signals import setting_changed
from django.db import connections, router
from django.db.models import AutoField, BigIntegerField, Manager, Model, QuerySet, Value
from django.db.models.query import ModelIterable

_MAX_ENTRIES: Final = 256

T = TypeVar("T")


class Placeholder(Value):
    """The position of a value that each call supplies under ``name``; ``field`` converts it for the database."""

    def __init__(self, name: Hashable, field: Any) -> None:
        field = getattr(field, "target_field", field)
        # Django refuses 0 as the value of an AutoField on MySQL, even in a comparison.
        super().__init__(name, output_field=BigIntegerField() if isinstance(field, AutoField) else field)

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", [self]


def fill_placeholders(
    parameters: Iterable[Any], values: Mapping[Any, Any] | Sequence[Any], connection: Any
) -> list[Any]:
    """Return the query's parameters with ``values`` in place of the placeholders."""
    return [
        parameter.output_field.get_db_prep_value(values[parameter.value], connection)
        if isinstance(parameter, Placeholder)
        else parameter
        for parameter in parameters
    ]


def padded(values: Sequence[T]) -> list[T]:
    """Repeat the last value up to a power of two, so that lists of similar lengths share one cached query."""
    length = 1 << (len(values) - 1).bit_length()
    return [*values, *[values[-1]] * (length - len(values))]


def cached(key: Hashable, make: Callable[[], T]) -> T:
    """Return the cached object for ``key``; call ``make`` the first time."""
    if (entry := _cache.get(key)) is None:
        if len(_cache) >= _MAX_ENTRIES:  # clients choose page sizes, and must not be able to fill the memory
            _cache.clear()
        entry = _cache[key] = make()
    result: T = entry
    return result


class CompiledQuery:
    def __init__(self, rows: QuerySet[Any], alias: str) -> None:
        # Converters are bound to the connection that a query is compiled for. This one is separate and closed at once:
        # a thread's own connection would live as long as the cache.
        self.connection = connection = connections.create_connection(alias)
        try:
            compiler = rows.query.get_compiler(connection=connection)
            self.sql, self.parameters = compiler.as_sql()
            columns = [column for column, _, _ in compiler.select]
            self.names = [column.target.attname for column in columns]
            self.converters = [
                (index, functions, expression)
                for index, (functions, expression) in compiler.get_converters(columns).items()
            ]
        except EmptyResultSet:  # the condition can never be true
            self.sql = ""
        finally:
            connection.close()
        self.model: type[Model] | None = rows.model if rows._iterable_class is ModelIterable else None
        self.alias = alias

    def fetch(self, values: Sequence[Any]) -> list[Any]:
        if not self.sql:
            return []
        connection = connections[self.alias]
        parameters = fill_placeholders(self.parameters, values, connection)
        # Django's cursor, so that query logs, instrumentation and execute wrappers see the query.
        with connection.cursor() as cursor:
            cursor.execute(self.sql, parameters)
            rows = [list(row) for row in cursor.fetchall()]
        for index, functions, expression in self.converters:
            for convert in functions:
                for row in rows:
                    row[index] = convert(row[index], expression, self.connection)
        model = self.model
        return rows if model is None else [model.from_db(self.alias, self.names, row) for row in rows]


_cache: dict[Hashable, Any] = {}


def fetch(
    model: type[Model],
    build: Callable[..., QuerySet[Any]],
    constants: tuple[Hashable, ...],
    values: Sequence[tuple[str, Any]],
    *,
    using: str | None = None,
) -> list[Any]:
    """Return the rows of ``build(*constants, *values)``, or their columns for a ``values_list()``. One query.

    Each of ``values`` is a pair: the name of the field that it is compared with, and the value. The value may be None,
    which selects another condition, a single value, or a tuple of any length.
    """
    arguments = [value for _, value in values]
    if type(model._default_manager) is not Manager:
        return list(build(*constants, *arguments).using(using))
    alias = using or router.db_for_read(model)
    lengths = tuple(
        None if argument is None else len(argument) if isinstance(argument, tuple) else "one" for argument in arguments
    )
    key = (model, alias, build, constants, lengths)
    query = cached(key, lambda: CompiledQuery(build(*constants, *_placeholders(model, values)), alias))
    return query.fetch(_flat(arguments))


def _flat(values: Sequence[Any]) -> list[Any]:
    groups = (value if isinstance(value, tuple) else (value,) for value in values if value is not None)
    return [value for group in groups for value in group]


def _placeholders(model: type[Model], values: Sequence[tuple[str, Any]]) -> list[Any]:
    arguments: list[Any] = []
    position = 0
    for name, value in values:
        if value is None:
            arguments.append(None)
            continue
        field = model._meta.pk if name == "pk" else model._meta.get_field(name)
        length = len(value) if isinstance(value, tuple) else 1
        placeholders = tuple(Placeholder(number, field) for number in range(position, position + length))
        arguments.append(placeholders if isinstance(value, tuple) else placeholders[0])
        position += length
    return arguments


def _clear(**kwargs: Any) -> None:
    _cache.clear()


# Models, databases and time zones depend on settings, which tests change.
setting_changed.connect(_clear, dispatch_uid="dovetail_notify.sql.cache")
