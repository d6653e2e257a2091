"""Short waits for the locks of tables: every writer queues behind a statement that waits for one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.db import OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from dovetail_audit.exceptions import AuditError
from dovetail_core.transactions import is_conflict

#: Milliseconds that a management command, and so every writer behind it, waits for a lock.
LOCK_WAIT: Final = 2000

# MariaDB: max_statement_time exceeded.
_STATEMENT_TIMEOUT: Final = 1969
_HOLDERS: Final = (
    "SELECT DISTINCT a.pid, coalesce(a.usename, '?'), coalesce(a.state, '?'), "
    "date_trunc('second', now() - a.xact_start) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid "
    "WHERE l.relation = to_regclass(%s) AND l.granted AND a.pid <> pg_backend_pid() ORDER BY a.pid"
)


class TableInUse(AuditError):
    """Another connection has held a lock for too long."""


@contextmanager
def limited_waits(connection: BaseDatabaseWrapper, milliseconds: int) -> Iterator[None]:
    """Limit the time that each statement of a transaction waits for a lock. MariaDB and MySQL know whole seconds."""
    if connection.vendor == "postgresql":
        execute(connection, f"SET LOCAL lock_timeout = '{milliseconds}ms'")
        yield
    elif connection.vendor == "mysql":
        with _session_variable(connection, "lock_wait_timeout", max(milliseconds // 1000, 1)):
            yield
    else:
        yield


@contextmanager
def transaction_with_limited_waits(connection: BaseDatabaseWrapper, *tables: str) -> Iterator[None]:
    """Run the block in a transaction. Raise ``TableInUse`` if another connection holds a lock that it needs."""
    try:
        with transaction.atomic(using=connection.alias), limited_waits(connection, LOCK_WAIT):
            # MariaDB ignores lock_wait_timeout for its tables of rights.
            if getattr(connection, "mysql_is_mariadb", False):
                with _session_variable(connection, "max_statement_time", LOCK_WAIT / 1000):
                    yield
            else:
                yield
    except OperationalError as error:
        if not is_conflict(error) and error.args[:1] != (_STATEMENT_TIMEOUT,):
            raise
        raise TableInUse(_advice(connection, tables)) from error


@contextmanager
def _session_variable(connection: BaseDatabaseWrapper, name: str, value: float) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT @@SESSION.{name}")
        (previous,) = cursor.fetchone()
    execute(connection, f"SET SESSION {name} = {value}")
    try:
        yield
    finally:
        execute(connection, f"SET SESSION {name} = {previous}")


def execute(connection: BaseDatabaseWrapper, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _advice(connection: BaseDatabaseWrapper, tables: tuple[str, ...]) -> str:
    problem = f"Another connection has held a lock for more than {LOCK_WAIT / 1000:g} seconds."
    if connection.vendor != "postgresql":
        return (
            f"{problem} It may be a backup, LOCK TABLES or a long transaction. Find it with SHOW FULL PROCESSLIST, "
            "wait for its end or stop it with KILL, and run the command again: it goes on."
        )
    holders = [holder for table in tables for holder in _holders(connection, table)]
    return (
        f"{problem} Nothing was changed. Locks: {'; '.join(holders) or 'the transaction has ended meanwhile'}. Wait "
        "for the end of these transactions, or end them with SELECT pg_terminate_backend(PID), and run the command "
        "again."
    )


def _holders(connection: BaseDatabaseWrapper, table: str) -> Iterator[str]:
    with connection.cursor() as cursor:
        cursor.execute(_HOLDERS, [connection.ops.quote_name(table)])
        for pid, role, state, duration in cursor.fetchall():
            yield f"{table} by process {pid} of role {role} ({state}, transaction of {duration})"
