"""One partition of the entries for each month, on PostgreSQL. Django knows nothing of it: ``id`` stays the only key."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from dovetail_audit.models import Entry
from dovetail_audit.protection import triggers
from dovetail_audit.protection.locks import transaction_with_limited_waits


class NotEmpty(Exception):
    """A table with entries cannot be partitioned."""


def partition(connection: BaseDatabaseWrapper, *, months: int, now: datetime) -> list[str]:
    """Partition the table unless it is partitioned, and create the missing partitions of the next ``months``.

    Return the names of new partitions. Entries of other months are in a default partition. Raises ``NotEmpty``, and
    ``TableInUse`` if another transaction keeps the table locked. The new table has no grants, so run ``audit_protect``
    afterwards.
    """
    with transaction_with_limited_waits(connection, Entry._meta.db_table):
        if not is_partitioned(connection):
            _convert(connection)
        return [name for name in (_create_month(connection, month) for month in _months(now, months)) if name]


def is_partitioned(connection: BaseDatabaseWrapper) -> bool:
    rows = _query(connection, "SELECT relkind FROM pg_class WHERE oid = to_regclass(%s)", _table(connection))
    return rows == [("p",)]


def _convert(connection: BaseDatabaseWrapper) -> None:
    table = _table(connection)
    _query(connection, f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
    if _query(connection, f"SELECT 1 FROM {table} LIMIT 1"):  # noqa: S608  # the name of the model's table
        raise NotEmpty
    is_protected = bool(triggers.installed(connection, Entry))
    indexes = _query(
        connection,
        "SELECT pg_get_indexdef(indexrelid), indisprimary, indexrelid::regclass::text FROM pg_index "
        "WHERE indrelid = to_regclass(%s)",
        table,
    )
    copy = connection.ops.quote_name(f"{Entry._meta.db_table}_partitioned")
    _query(connection, f"CREATE TABLE {copy} (LIKE {table} INCLUDING DEFAULTS) PARTITION BY RANGE (id)")
    _query(connection, f"DROP TABLE {table}")
    _query(connection, f"ALTER TABLE {copy} RENAME TO {table}")
    for definition, is_primary, name in indexes:
        _query(connection, f"ALTER TABLE {table} ADD CONSTRAINT {name} PRIMARY KEY (id)" if is_primary else definition)
    default = connection.ops.quote_name(f"{Entry._meta.db_table}_default")
    _query(connection, f"CREATE TABLE {default} PARTITION OF {table} DEFAULT")
    if is_protected:
        triggers.install(connection, Entry)
        _protect_partition(connection, default)


def _create_month(connection: BaseDatabaseWrapper, month: datetime) -> str | None:
    name = f"{Entry._meta.db_table}_{month:%Y_%m}"
    if _query(connection, "SELECT 1 WHERE to_regclass(%s) IS NOT NULL", connection.ops.quote_name(name)):
        return None
    partition, table = connection.ops.quote_name(name), _table(connection)
    start, stop = floor(month), floor(_next(month))
    bounds = f"FROM ('{start}') TO ('{stop}')"
    # Writers must not add entries of the month to the default partition meanwhile.
    _query(connection, f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
    default = connection.ops.quote_name(f"{Entry._meta.db_table}_default")
    late = f"FROM {default} WHERE id >= '{start}' AND id < '{stop}'"
    if _query(connection, f"SELECT 1 {late} LIMIT 1"):  # names and times of our own
        # The month has begun without a partition. PostgreSQL creates none over entries of the default partition.
        _query(connection, f"CREATE TABLE {partition} (LIKE {table} INCLUDING DEFAULTS)")
        with triggers.suspended(connection):
            moved = f"WITH moved AS (DELETE {late} RETURNING *) INSERT INTO {partition} SELECT * FROM moved"  # noqa: S608
            _query(connection, moved)
            _query(connection, f"ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES {bounds}")
    else:
        _query(connection, f"CREATE TABLE {partition} PARTITION OF {table} FOR VALUES {bounds}")
    if triggers.installed(connection, Entry):
        _protect_partition(connection, partition)
    return name


def _protect_partition(connection: BaseDatabaseWrapper, partition: str) -> None:
    # Partitions inherit triggers of rows, and not of statements.
    truncate = next(text for text in triggers.creation(connection, Entry) if " BEFORE TRUNCATE " in text)
    _query(connection, truncate.replace(f" ON {_table(connection)} ", f" ON {partition} "))


def floor(moment: datetime) -> uuid.UUID:
    """Return the smallest UUIDv7 of a time."""
    return uuid.UUID(int=int(moment.timestamp() * 1000) << 80 | 0x7 << 76 | 0b10 << 62)


def _months(now: datetime, number: int) -> Iterator[datetime]:
    month = datetime(now.year, now.month, 1, tzinfo=UTC)
    for _ in range(number + 1):
        yield month
        month = _next(month)


def _next(month: datetime) -> datetime:
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


def _table(connection: BaseDatabaseWrapper) -> str:
    return connection.ops.quote_name(Entry._meta.db_table)


def _query(connection: BaseDatabaseWrapper, statement: str, *parameters: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return list(cursor.fetchall()) if cursor.description else []
