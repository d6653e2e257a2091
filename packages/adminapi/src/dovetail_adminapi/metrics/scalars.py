"""Many small queries in one statement: ``SELECT (SELECT …), (SELECT …)``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import Model, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.dateparse import parse_datetime

#: The most rows that one query counts where an index does not limit them.
MOST_ROWS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Scalar:
    """A query of one value."""

    sql: str
    params: tuple[Any, ...]


def fetch(scalars: Sequence[Scalar], *, using: str) -> list[Any]:
    """Return the values of all queries, with one statement."""
    if not scalars:
        return []
    with connections[using].cursor() as cursor:
        columns = ", ".join(f"({scalar.sql})" for scalar in scalars)
        cursor.execute(f"SELECT {columns}", [value for scalar in scalars for value in scalar.params])
        return list(cursor.fetchone())


def count(rows: QuerySet[Any], *, most: int | None = None) -> Scalar:
    """Count rows, or at most ``most + 1`` of them: a larger result means that there are more."""
    rows = rows.order_by().values("pk")
    try:
        sql, params = _compile(rows if most is None else rows[: most + 1])
    except EmptyResultSet:
        return Scalar("SELECT 0", ())
    return Scalar(f"SELECT COUNT(*) FROM ({sql}) counted", params)  # noqa: S608  # as the ORM has compiled it


def oldest(rows: QuerySet[Any], field: str) -> Scalar:
    """Return the smallest value of a field."""
    try:
        return Scalar(*_compile(rows.order_by(field).values(field)[:1]))
    except EmptyResultSet:
        return Scalar("SELECT NULL", ())


def newest(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Return the rows that are among the ``MOST_ROWS`` with the largest primary keys, which the key's index finds."""
    keys = rows.model._base_manager.using(rows.db).order_by("-pk").values("pk")
    # Without so many rows, all of them.
    first = Coalesce(Subquery(keys[MOST_ROWS - 1 : MOST_ROWS]), Subquery(keys.reverse()[:1]))
    # With both bounds, PostgreSQL expects a small part of the table, and not a third of it, for which it compiles code.
    return rows.filter(pk__gte=first, pk__lte=Subquery(keys[:1]))


def beyond_newest(rows: QuerySet[Any], field: str) -> Scalar:
    """Return the value of a field of the first row that :func:`newest` leaves out, or None."""
    everything = rows.model._base_manager.using(rows.db)
    return Scalar(*_compile(everything.order_by("-pk").values(field)[MOST_ROWS : MOST_ROWS + 1]))


def estimate(model: type[Model], *, using: str) -> Scalar:
    """Return PostgreSQL's estimate of the rows of a table, or -1 if it was never analyzed."""
    table = connections[using].ops.quote_name(model._meta.db_table)
    return Scalar("SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(%s)", (table,))


def as_time(value: Any, *, using: str) -> datetime | None:
    """Convert what a database driver returns for a time. SQLite returns text, and MariaDB naive times."""
    if isinstance(value, str):
        value = parse_datetime(value)
    if isinstance(value, datetime) and timezone.is_naive(value) and connections[using].timezone is not None:
        return timezone.make_aware(value, connections[using].timezone)
    return value if isinstance(value, datetime) else None


def is_indexed(model: type[Model], name: str) -> bool:
    """Return whether an index begins with a field, so that a range of it is found without reading the table."""
    field = model._meta.get_field(name)
    if getattr(field, "db_index", False) or getattr(field, "unique", False):
        return True
    firsts = [
        index.fields[0].removeprefix("-") for index in model._meta.indexes if index.fields and not index.condition
    ]
    return name in firsts


def _compile(rows: QuerySet[Any]) -> tuple[str, tuple[Any, ...]]:
    sql, params = rows.query.get_compiler(rows.db).as_sql()
    return sql, tuple(params)
