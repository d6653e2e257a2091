"""One partition of the entries for each month, on PostgreSQL. Django knows nothing of it: ``id`` stays the only key."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import IntegrityError
from django.db.backends.base.base import BaseDatabaseWrapper

from dovetail_audit.exceptions import AuditError
from dovetail_audit.models import Entry
from dovetail_audit.protection import triggers
from dovetail_audit.protection.locks import transaction_with_limited_waits


class NotPartitioned(AuditError):
    """The table cannot be partitioned. Nothing was changed."""


def partition(connection: BaseDatabaseWrapper, *, months: int, now: datetime) -> list[str]:
    """Partition the table unless it is partitioned, and create the missing partitions of the next ``months``.

    Return the names of new partitions. Entries that exist become one partition, up to the end of this month: nothing is
    copied, but PostgreSQL reads the table once, and writers wait meanwhile. Entries of other months are in a default
    partition. Raises ``NotPartitioned``, and ``TableInUse`` if another transaction keeps the table locked.
    """
    with transaction_with_limited_waits(connection, Entry._meta.db_table):
        created = [] if is_partitioned(connection) else _convert(connection, _next(_first_day(now)))
        covered = _oldest_bound(connection)
        wanted = [month for month in _months(now, months) if covered is None or floor(month) >= covered]
        return [*created, *(name for name in (_create_month(connection, month) for month in wanted) if name)]


def is_partitioned(connection: BaseDatabaseWrapper) -> bool:
    rows = _query(connection, "SELECT relkind FROM pg_class WHERE oid = to_regclass(%s)", _table(connection))
    return rows == [("p",)]


def _convert(connection: BaseDatabaseWrapper, stop: datetime) -> list[str]:
    """Replace the table by a partitioned one, with its entries as the first partition. Return the name of that."""
    table = _table(connection)
    _query(connection, f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
    is_protected = bool(triggers.installed(connection, Entry))
    rights = list(_rights(connection))
    indexes = _query(
        connection,
        "SELECT pg_get_indexdef(indexrelid), indisprimary, relname FROM pg_index "
        "JOIN pg_class ON pg_class.oid = indexrelid WHERE indrelid = to_regclass(%s) ORDER BY relname",
        table,
    )
    first = _set_aside(connection, stop, [name for _definition, _is_primary, name in indexes])
    quote = connection.ops.quote_name
    _query(connection, f"CREATE TABLE {table} (LIKE {quote(first)} INCLUDING DEFAULTS) PARTITION BY RANGE (id)")
    for definition, is_primary, name in indexes:
        primary = f"ALTER TABLE {table} ADD CONSTRAINT {quote(name)} PRIMARY KEY (id)"
        _query(connection, primary if is_primary else definition)
    for right in rights:
        _query(connection, right)
    default = quote(f"{Entry._meta.db_table}_default")
    _query(connection, f"CREATE TABLE {default} PARTITION OF {table} DEFAULT")
    kept = _attach(connection, first, stop)
    if is_protected:
        triggers.install(connection, Entry)
        for name in (default, *map(quote, kept)):
            _protect_partition(connection, name)
    return kept


def _set_aside(connection: BaseDatabaseWrapper, stop: datetime, indexes: Sequence[str]) -> str:
    """Rename the table and its indexes, so that the partitioned table gets their names. Return the name."""
    quote, table, name = connection.ops.quote_name, _table(connection), f"{Entry._meta.db_table}_before_{stop:%Y_%m}"
    for statement in triggers.removal(connection, Entry):
        _query(connection, statement)
    _query(connection, f"ALTER TABLE {table} RENAME TO {quote(name)}")
    for number, index in enumerate(indexes):
        _query(connection, f"ALTER INDEX {quote(index)} RENAME TO {quote(f'{name}_{number}')}")
    return name


def _attach(connection: BaseDatabaseWrapper, name: str, stop: datetime) -> list[str]:
    """Make the renamed table a partition with its own indexes, or drop it if it is empty."""
    quoted = connection.ops.quote_name(name)
    if not _query(connection, f"SELECT 1 FROM {quoted} LIMIT 1"):  # noqa: S608  # a name of our own
        _query(connection, f"DROP TABLE {quoted}")
        return []
    bounds = f"FROM (MINVALUE) TO ('{floor(stop)}')"
    try:
        _query(connection, f"ALTER TABLE {_table(connection)} ATTACH PARTITION {quoted} FOR VALUES {bounds}")
    except IntegrityError as error:
        raise NotPartitioned(
            f"An entry has an id of {stop:%Y-%m} or later, which is in the future. Run audit_verify: it may be forged."
        ) from error
    return [name]


def _rights(connection: BaseDatabaseWrapper) -> Iterator[str]:
    """Yield the statements that give another table of this name the same owner and rights."""
    table = _table(connection)
    owner = "SELECT quote_ident(pg_get_userbyid(relowner)) FROM pg_class WHERE oid = to_regclass(%s)"
    for (role,) in _query(connection, owner, table):
        yield f"ALTER TABLE {table} OWNER TO {role}"
    grantee = "CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END"
    grants = (
        f"SELECT privilege_type, {grantee} FROM pg_class, aclexplode(relacl) "  # noqa: S608  # our own text
        "WHERE oid = to_regclass(%s) AND grantee <> relowner "
        f"UNION ALL SELECT privilege_type || ' (' || quote_ident(attname) || ')', {grantee} "
        "FROM pg_attribute, aclexplode(attacl) WHERE attrelid = to_regclass(%s)"
    )
    for right, role in _query(connection, grants, table, table):
        yield f"GRANT {right} ON {table} TO {role}"


def _oldest_bound(connection: BaseDatabaseWrapper) -> uuid.UUID | None:
    """Return the id at which the partition of the entries from before the partitioning ends, if there is one."""
    bounds = (
        "SELECT substring(pg_get_expr(relpartbound, pg_class.oid) FROM $$MINVALUE\\) TO \\('([0-9a-f-]+)'$$) "
        "FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = to_regclass(%s)"
    )
    return next((uuid.UUID(bound) for (bound,) in _query(connection, bounds, _table(connection)) if bound), None)


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
    month = _first_day(now)
    for _ in range(number + 1):
        yield month
        month = _next(month)


def _first_day(moment: datetime) -> datetime:
    return datetime(moment.year, moment.month, 1, tzinfo=UTC)


def _next(month: datetime) -> datetime:
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


def _table(connection: BaseDatabaseWrapper) -> str:
    return connection.ops.quote_name(Entry._meta.db_table)


def _query(connection: BaseDatabaseWrapper, statement: str, *parameters: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return list(cursor.fetchall()) if cursor.description else []
