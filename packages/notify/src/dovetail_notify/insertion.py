"""``INSERT … SELECT``, written by the ORM: rows that the database makes by itself, for any number of people."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db import connections
from django.db.models import NOT_PROVIDED, BooleanField, Field, Func, Model, QuerySet, Value
from django.db.models.constants import OnConflict

from dovetail_notify.kept import filled

_NONE: Final[Mapping[str, QuerySet[Any]]] = {}


class Given(Func):
    """A condition that is given when the statement is executed, as a queryset that has the ``name``: to be a row of it
    or, with a ``key``, to have the key of one."""

    output_field = BooleanField()

    def __init__(self, name: str, *key: Any) -> None:
        super().__init__(*key)
        self.name = name
        # In no SQL that the ORM writes.
        self.mark = f"\0{name}\0"

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.source_expressions:
            return f"({self.mark})", [self]
        sql, parameters = compiler.compile(self.source_expressions[0])
        return f"{sql} IN ({self.mark})", [*parameters, self]

    def compiled(self, rows: QuerySet[Any], using: str) -> Any:
        return _subquery(rows, using) if self.source_expressions else _condition(rows, using)


class Insertion:
    """``INSERT INTO model (…) SELECT … UNION ALL SELECT …``. Only parameters, no values.

    Each part is a queryset and what it gives for each column, by the fields' names: expressions, places or values.
    """

    def __init__(
        self, model: Any, parts: Sequence[tuple[QuerySet[Any], Mapping[str, Any]]], using: str, *, ignore: bool = False
    ) -> None:
        self.sql, self.parameters = "", []
        self.key = model._meta.pk.column
        connection = connections[using]
        fields = [each for each in model._meta.concrete_fields if each.name in parts[0][1]]
        selects = []
        for rows, columns in parts:
            named = {f"dovetail_{each.column}": expression(columns[each.name], each) for each in fields}
            compiler = rows.annotate(**named).values_list(*named).query.get_compiler(using)
            with contextlib.suppress(EmptyResultSet):  # nobody, and Django knows it before the database
                sql, parameters = compiler.as_sql()
                selects.append(sql)
                self.parameters += parameters
        if not selects:
            return
        conflict = OnConflict.IGNORE if ignore else None
        quote = connection.ops.quote_name
        words = (
            connection.ops.insert_statement(on_conflict=conflict),
            quote(model._meta.db_table),
            f"({', '.join(quote(each.column) for each in fields)})",
            " UNION ALL ".join(selects),
            connection.ops.on_conflict_suffix_sql(fields, conflict, [], []) if conflict else "",
        )
        self.sql = " ".join(filter(None, words))

    def execute(self, using: str, values: Mapping[str, Any], sets: Mapping[str, QuerySet[Any]] = _NONE) -> int:
        """How many rows there were. ``values`` are for the places, ``sets`` for the conditions."""
        found: int = self._executed(using, values, sets, "", lambda cursor: max(int(cursor.rowcount), 0)) or 0
        return found

    def keys(self, using: str, values: Mapping[str, Any], sets: Mapping[str, QuerySet[Any]]) -> list[Any]:
        """The rows' keys, where the database can return them."""
        returning = f" RETURNING {connections[using].ops.quote_name(self.key)}"
        return (
            self._executed(using, values, sets, returning, lambda cursor: [key for (key,) in cursor.fetchall()]) or []
        )

    def _executed(
        self,
        using: str,
        values: Mapping[str, Any],
        sets: Mapping[str, QuerySet[Any]],
        returning: str,
        read: Callable[[Any], Any],
    ) -> Any:
        connection = connections[using]
        sql, parameters = self.sql, []
        if not sql:
            return None
        for each in self.parameters:
            if isinstance(each, Given):
                try:
                    text, inner = each.compiled(sets[each.name], using)
                except EmptyResultSet:
                    return None
                sql = sql.replace(each.mark, text)
                parameters += inner
            else:
                parameters.append(each)
        with connection.cursor() as cursor:
            cursor.execute(sql + returning, filled(parameters, values, connection))
            return read(cursor)


def expression(value: Any, field: Any) -> Any:
    return value if hasattr(value, "resolve_expression") else Value(value, output_field=field)


def defaults(model: type[Model], given: Mapping[str, Any]) -> dict[str, Any]:
    """What Python and not the database gives to the columns that are not ``given``: a project's own among them."""
    return {
        each.name: each.get_default()
        for each in model._meta.concrete_fields
        if each.name not in given and _needs_value(each)
    }


def _needs_value(each: Field[Any, Any]) -> bool:
    if each.primary_key or each.null or getattr(each, "generated", False):
        return False
    return getattr(each, "db_default", NOT_PROVIDED) is NOT_PROVIDED


def _condition(rows: QuerySet[Any], using: str) -> Any:
    """Of rows of one table, which has its own name there as it has in the statement."""
    try:
        return rows.query.get_compiler(using).compile(rows.query.where)
    except FullResultSet:
        return "1 = 1", ()


def _subquery(rows: QuerySet[Any], using: str) -> Any:
    """As Django has it where a queryset is what ``__in`` is given."""
    query = rows.query.chain()
    if not query.has_select_fields:
        query.clear_select_clause()
        query.add_fields(["pk"])
    query.clear_ordering(clear_default=True)
    return query.get_compiler(using).as_sql()
