"""Triggers that refuse to change or delete entries, in the SQL of each database.

Erasing is allowed once: an UPDATE that sets all personal columns to NULL and ``erased_at`` to a time, and changes no
other column. No setting in the database switches the triggers off, because anybody who can run SQL could set it.

TRUNCATE fires no trigger on MariaDB and MySQL; there, only the right to DROP protects the table (check W008).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.core import mail
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.creation import TEST_DATABASE_PREFIX
from django.db.models import JSONField, Model

from dovetail_audit.models import PERSONAL, Entry
from dovetail_audit.protection.locks import execute, limited_waits
from dovetail_core.transactions import is_conflict

FUNCTION: Final = "dovetail_audit_refuse"
#: Milliseconds that the removal of a trigger, and so every writer behind it, waits for open transactions.
LOCK_WAIT: Final = 100
_MESSAGE: Final = "dovetail_audit: this table is append-only"
_ERASED: Final = "erased_at"

_INSTALLED: Final = {
    "postgresql": "SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND NOT tgisinternal "
    "AND tgenabled <> 'D'",
    "mysql": "SELECT trigger_name FROM information_schema.triggers "
    "WHERE event_object_schema = DATABASE() AND event_object_table = %s",
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s",
}


def creation(connection: BaseDatabaseWrapper, model: type[Model]) -> list[str]:
    """Return the statements that create the triggers of a table."""
    build = {"postgresql": _postgresql, "mysql": _mysql, "sqlite": _sqlite}.get(connection.vendor)
    return build(connection, model) if build else []


def removal(connection: BaseDatabaseWrapper, model: type[Model]) -> list[str]:
    """Return the statements that remove the triggers. The function of PostgreSQL stays for other tables."""
    quote, table = connection.ops.quote_name, model._meta.db_table
    suffix = f" ON {quote(table)}" if connection.vendor == "postgresql" else ""
    return [f"DROP TRIGGER IF EXISTS {quote(name)}{suffix}" for name in names(connection, model)]


def names(connection: BaseDatabaseWrapper, model: type[Model]) -> list[str]:
    """Return the names of the triggers that protect the table on this database."""
    last = {"postgresql": ["truncate"], "sqlite": ["replace"]}.get(connection.vendor, [])
    return [_name(model, event) for event in ("update", "delete", *last)]


def installed(connection: BaseDatabaseWrapper, model: type[Model]) -> set[str]:
    """Return those of ``names()`` that exist and are enabled."""
    statement = _INSTALLED.get(connection.vendor)
    if statement is None:
        return set()
    table = model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(statement, [connection.ops.quote_name(table) if connection.vendor == "postgresql" else table])
        existing = {row[0] for row in cursor.fetchall()}
    return existing.intersection(names(connection, model))


def install(connection: BaseDatabaseWrapper, model: type[Model]) -> None:
    """Create the triggers, in place of those that exist."""
    with connection.cursor() as cursor:
        for statement in (*removal(connection, model), *creation(connection, model)):
            cursor.execute(statement)


@contextmanager
def suspended(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Let the owner of the tables delete entries inside the block, which must be in a transaction.

    On PostgreSQL and SQLite, nobody else sees the table without its triggers: the change belongs to the transaction and
    locks the table. MariaDB and MySQL commit it at once; there, revoke DELETE from other roles.

    Raise ``OperationalError`` (``dovetail_core.transactions.is_conflict``) if another transaction has used the table
    and is still open. The caller must then wait outside the transaction: every new writer queues behind the lock.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("suspended() needs a transaction: a rollback must restore the triggers.")
    existing = installed(connection, Entry)
    if not existing:
        yield
        return
    quote, table, name = connection.ops.quote_name, Entry._meta.db_table, _name(Entry, "delete")
    if connection.vendor == "postgresql":
        off = f"ALTER TABLE {quote(table)} DISABLE TRIGGER {quote(name)}"
        on = off.replace("DISABLE", "ENABLE", 1)
    else:
        off = f"DROP TRIGGER IF EXISTS {quote(name)}"
        on = next(statement for statement in creation(connection, Entry) if quote(name) in statement)
    with limited_waits(connection, LOCK_WAIT):
        execute(connection, off)
        try:
            yield
        except BaseException:
            # The rollback restores them on the others, where a failed transaction executes no statement.
            if connection.vendor == "mysql":
                _restore(connection, on)
            raise
        _restore(connection, on)


def _restore(connection: BaseDatabaseWrapper, statement: str) -> None:
    # On MariaDB, a writer may have taken the table in between. The table must not stay without its trigger.
    while True:
        try:
            execute(connection, statement)
        except OperationalError as error:
            if connection.vendor != "mysql" or not is_conflict(error):
                raise
        else:
            return


def is_test_database(connection: BaseDatabaseWrapper) -> bool:
    """Return whether Django's test runner has created this database for the tests that run now.

    There, triggers would fail the tests of the project: ``TransactionTestCase`` empties all tables after each test.
    """
    # Django's test runner sets it, and nothing else does.
    if not hasattr(mail, "outbox"):
        return False
    name = str(connection.settings_dict["NAME"])
    file = name.rpartition("/")[2]
    own = connection.settings_dict["TEST"].get("NAME")
    return file.startswith(TEST_DATABASE_PREFIX) or "memory" in name or (own is not None and name == str(own))


def _name(model: type[Model], event: str) -> str:
    return f"{model._meta.db_table}_no_{event}"


def _postgresql(connection: BaseDatabaseWrapper, model: type[Model]) -> list[str]:
    quote, table = connection.ops.quote_name, model._meta.db_table
    same = {JSONField: "OLD.{0}::text IS NOT DISTINCT FROM NEW.{0}::text"}
    condition = _erasure(connection, model, "OLD.{0} IS NOT DISTINCT FROM NEW.{0}", same)
    when = f" WHEN (NOT ({condition}))" if condition else ""
    trigger = "CREATE TRIGGER {} BEFORE {} ON {} FOR EACH {}{} EXECUTE FUNCTION {}()"
    # RESTRICT_VIOLATION, which Django raises as IntegrityError.
    function = (
        f"CREATE OR REPLACE FUNCTION {quote(FUNCTION)}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"RAISE EXCEPTION '{_MESSAGE}' "
        "USING ERRCODE = 'restrict_violation', DETAIL = TG_OP || ' on ' || TG_TABLE_NAME; END $$"
    )
    return [
        function,
        *(
            trigger.format(quote(_name(model, event)), event.upper(), quote(table), scope, guard, quote(FUNCTION))
            for event, scope, guard in (
                ("update", "ROW", when),
                ("delete", "ROW", ""),
                ("truncate", "STATEMENT", ""),
            )
        ),
    ]


def _sqlite(connection: BaseDatabaseWrapper, model: type[Model]) -> list[str]:
    quote, table = connection.ops.quote_name, model._meta.db_table
    condition = _erasure(connection, model, "OLD.{0} IS NEW.{0}", {})
    # INSERT OR REPLACE deletes without firing delete triggers, unless recursive_triggers is on.
    unique = [quote(str(field.column)) for field in model._meta.local_concrete_fields if field.unique]
    same = " OR ".join(f"{column} = NEW.{column}" for column in unique)
    exists = f"SELECT 1 FROM {quote(table)} WHERE {same}"  # noqa: S608  # names of columns
    guards = {
        "update": ("UPDATE", f"WHEN NOT ({condition})" if condition else ""),
        "delete": ("DELETE", ""),
        "replace": ("INSERT", f"WHEN EXISTS ({exists})"),
    }
    return [
        f"CREATE TRIGGER {quote(_name(model, event))} BEFORE {operation} ON {quote(table)} FOR EACH ROW {when} "
        f"BEGIN SELECT RAISE(ABORT, '{_MESSAGE}'); END"
        for event, (operation, when) in guards.items()
    ]


def _mysql(connection: BaseDatabaseWrapper, model: type[Model]) -> list[str]:
    quote, table = connection.ops.quote_name, model._meta.db_table
    # As bytes: collations ignore case, accents and trailing spaces. JSON has its own comparison.
    same = {JSONField: "OLD.{0} <=> NEW.{0}"}
    condition = _erasure(connection, model, "CAST(OLD.{0} AS BINARY) <=> CAST(NEW.{0} AS BINARY)", same)
    signal = f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{_MESSAGE}'"
    update = f"BEGIN IF NOT ({condition}) THEN {signal}; END IF; END" if condition else signal
    return [
        f"CREATE TRIGGER {quote(_name(model, event))} BEFORE {event.upper()} ON {quote(table)} FOR EACH ROW {body}"
        for event, body in (("update", update), ("delete", signal))
    ]


def _erasure(connection: BaseDatabaseWrapper, model: type[Model], same: str, other: dict[Any, str]) -> str:
    """Return the condition of an erasure, or an empty string for tables without personal columns."""
    fields = model._meta.local_concrete_fields
    if not any(field.name == _ERASED for field in fields):
        return ""
    quote = connection.ops.quote_name
    conditions = [f"OLD.{quote(_ERASED)} IS NULL", f"NEW.{quote(_ERASED)} IS NOT NULL"]
    for field in fields:
        column = quote(str(field.column))
        if field.name in PERSONAL:
            conditions.append(f"NEW.{column} IS NULL")
        elif field.name != _ERASED:
            comparison = next((text for kind, text in other.items() if isinstance(field, kind)), same)
            conditions.append(comparison.format(column))
    return " AND ".join(conditions)
