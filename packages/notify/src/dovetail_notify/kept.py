"""Queries whose SQL the ORM writes once.

To build and to compile the query of a page is a quarter of the page's time, that of a notification nine tenths, and
gives the same text again each time. So it is kept, by what it depends on, and the values of each use are put in their
places. Projects' own columns, keys and databases are the ORM's business as ever; a model whose default manager is the
project's own has its queries built each time, for that manager may choose other rows for every request.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from django.core.exceptions import EmptyResultSet
from django.core.signals import setting_changed
from django.db import connections, router
from django.db.models import AutoField, BigIntegerField, Manager, Model, QuerySet, Value
from django.db.models.query import ModelIterable

_MOST: Final = 256

T = TypeVar("T")


class Place(Value):
    """Where a value of each use goes: the one that has the ``name``, of ``field``."""

    def __init__(self, name: Hashable, field: Any) -> None:
        field = getattr(field, "target_field", field)
        # MySQL takes no 0 for a key of its numbering, not even to compare with.
        super().__init__(name, output_field=BigIntegerField() if isinstance(field, AutoField) else field)

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", [self]


def filled(parameters: Iterable[Any], values: Mapping[Any, Any] | Sequence[Any], connection: Any) -> list[Any]:
    """The parameters of a query with ``values`` in the places."""
    return [
        each.output_field.get_db_prep_value(values[each.value], connection) if isinstance(each, Place) else each
        for each in parameters
    ]


def padded(values: Sequence[T]) -> list[T]:
    """The same set, its last repeated up to a power of two: else each number of them would be a query of its own."""
    number = 1 << (len(values) - 1).bit_length()
    return [*values, *[values[-1]] * (number - len(values))]


def once(shape: Hashable, make: Callable[[], T]) -> T:
    """What ``make`` made the first time for this shape."""
    if (found := _kept.get(shape)) is None:
        if len(_kept) >= _MOST:  # whoever asks for every number of rows there is must not fill the memory
            _kept.clear()
        found = _kept[shape] = make()
    made: T = found
    return made


class _Kept:
    def __init__(self, rows: QuerySet[Any], alias: str) -> None:
        # Converters are bound to the connection that a query was compiled for: to one of our own that is never opened
        # to stay, or a thread's connection would live as long as the process.
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
        except EmptyResultSet:  # a condition that nothing meets
            self.sql = ""
        finally:
            connection.close()
        self.model: type[Model] | None = rows.model if rows._iterable_class is ModelIterable else None
        self.alias = alias

    def fetch(self, values: Sequence[Any]) -> list[Any]:
        if not self.sql:
            return []
        connection = connections[self.alias]
        parameters = filled(self.parameters, values, connection)
        # Django's cursor, for the project's query logs, instrumentation and execute wrappers.
        with connection.cursor() as cursor:
            cursor.execute(self.sql, parameters)
            rows = [list(row) for row in cursor.fetchall()]
        for index, functions, expression in self.converters:
            for convert in functions:
                for row in rows:
                    row[index] = convert(row[index], expression, self.connection)
        model = self.model
        return rows if model is None else [model.from_db(self.alias, self.names, row) for row in rows]


_kept: dict[Hashable, Any] = {}


def fetch(
    model: type[Model],
    build: Callable[..., QuerySet[Any]],
    constants: tuple[Hashable, ...],
    values: Sequence[tuple[str, Any]],
    *,
    using: str | None = None,
) -> list[Any]:
    """The rows of ``build(*constants, *values)``, or the columns of each where it is of ``values_list``, by one query.

    ``values`` are given with the names of the fields that they are compared with: None, which is no value but a
    condition of its own, one value, or a tuple of any number.
    """
    given = [value for _, value in values]
    if type(model._default_manager) is not Manager:
        return list(build(*constants, *given).using(using))
    alias = using or router.db_for_read(model)
    lengths = tuple(None if each is None else len(each) if isinstance(each, tuple) else "one" for each in given)
    shape = (model, alias, build, constants, lengths)
    kept = once(shape, lambda: _Kept(build(*constants, *_placed(model, values)), alias))
    return kept.fetch(_flat(given))


def _flat(values: Sequence[Any]) -> list[Any]:
    groups = (each if isinstance(each, tuple) else (each,) for each in values if each is not None)
    return [value for group in groups for value in group]


def _placed(model: type[Model], values: Sequence[tuple[str, Any]]) -> list[Any]:
    placed: list[Any] = []
    index = 0
    for name, value in values:
        if value is None:
            placed.append(None)
            continue
        field = model._meta.pk if name == "pk" else model._meta.get_field(name)
        length = len(value) if isinstance(value, tuple) else 1
        places = tuple(Place(each, field) for each in range(index, index + length))
        placed.append(places if isinstance(value, tuple) else places[0])
        index += length
    return placed


def _forget(**kwargs: Any) -> None:
    _kept.clear()


# Models, databases and time zones are settings; tests change them.
setting_changed.connect(_forget, dispatch_uid="dovetail_notify.kept")
