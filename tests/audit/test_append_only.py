"""The attacks of SQL on entries, on each database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.migrations.state import ProjectState
from django.test.utils import CaptureQueriesContext

from dovetail_audit import record
from dovetail_audit.models import Entry, Leaf
from dovetail_audit.protection import triggers
from dovetail_audit.protection.operations import AppendOnly
from dovetail_audit.testing import append_only, tamper

pytestmark = pytest.mark.django_db(transaction=True)

TABLE = "dovetail_audit_entry"
ERASE = "actor_label = NULL, target_label = NULL, ip = NULL, user_agent = NULL, private = NULL, salt = NULL"
#: No database accepts it as the time of an erasure that it is.
AT = "erased_at = '2026-01-01 00:00:00'"


@pytest.fixture
def entry() -> Iterator[Entry]:
    written = record("invoice.paid", parameters={"email": "ada@example.com"}, status=200)
    with append_only():
        yield written


def execute(statement: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def key(entry: Entry) -> str:
    return entry.pk.hex if connection.vendor == "sqlite" else str(entry.pk)


def row() -> dict[str, Any]:
    return Entry.objects.values().get()


def refuse(statement: str) -> None:
    before = row()
    with pytest.raises(DatabaseError, match="append-only"):
        execute(statement)
    assert row() == before


@pytest.mark.parametrize(
    "assignments",
    [
        "action = 'invoice.deleted'",
        "status = status",
        "mac = NULL",
        "actor_label = NULL",
        ERASE,
        AT,
        f"{ERASE}, {AT}, action = 'INVOICE.PAID'",
        f"{ERASE}, {AT}, action = 'invoice.paid '",
        f"{ERASE}, {AT}, status = 201",
        f"{ERASE}, {AT}, organization = 'a'",
        f"{ERASE}, {AT}, data = '{{}}'",
        f"{ERASE}, {AT}, mac = commitment",
        f"{ERASE.replace('ip = NULL, ', '')}, ip = '192.0.2.1', {AT}",
        f"{ERASE}, erased_at = NULL",
    ],
)
def test_update_is_refused(entry: Entry, assignments: str) -> None:
    refuse(f"UPDATE {TABLE} SET {assignments}")


def test_erasure_is_allowed_once(entry: Entry) -> None:
    execute(f"UPDATE {TABLE} SET {ERASE}, {AT}")
    assert row()["private"] is None
    assert row()["action"] == "invoice.paid"
    refuse(f"UPDATE {TABLE} SET {ERASE}, {AT}")
    refuse(f"UPDATE {TABLE} SET actor_label = 'ada'")
    refuse(f"UPDATE {TABLE} SET erased_at = NULL")


def test_deletion_is_refused(entry: Entry) -> None:
    refuse(f"DELETE FROM {TABLE}")


def test_deletion_of_a_leaf_is_refused(entry: Entry) -> None:
    Leaf._base_manager.create(position=0, entry=entry.pk, hash=b"h")
    for statement in ("DELETE FROM dovetail_audit_leaf", "UPDATE dovetail_audit_leaf SET position = 1"):
        with pytest.raises(DatabaseError, match="append-only"):
            execute(statement)
    assert Leaf.objects.get().position == 0


def columns() -> str:
    return ", ".join(connection.ops.quote_name(str(field.column)) for field in Entry._meta.local_concrete_fields)


def copy_of(entry: Entry, verb: str) -> str:
    return f"{verb} INTO {TABLE} ({columns()}) SELECT {columns()} FROM {TABLE}"


@pytest.mark.skipif(connection.vendor != "sqlite", reason="needs SQLite: INSERT OR REPLACE")
def test_insert_or_replace_is_refused(entry: Entry) -> None:
    refuse(copy_of(entry, "INSERT OR REPLACE"))
    refuse(copy_of(entry, "REPLACE"))
    refuse(f"{copy_of(entry, 'INSERT')} WHERE true ON CONFLICT (id) DO UPDATE SET action = 'other.action'")


@pytest.mark.skipif(connection.vendor != "mysql", reason="needs MariaDB: REPLACE")
def test_replace_is_refused(entry: Entry) -> None:
    refuse(copy_of(entry, "REPLACE"))
    refuse(f"{copy_of(entry, 'INSERT')} ON DUPLICATE KEY UPDATE action = 'other.action'")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="needs PostgreSQL: ON CONFLICT, MERGE and TRUNCATE")
def test_other_statements_of_postgresql_are_refused(entry: Entry) -> None:
    refuse(f"{copy_of(entry, 'INSERT')} ON CONFLICT (id) DO UPDATE SET action = 'other.action'")
    refuse(f"MERGE INTO {TABLE} t USING {TABLE} s ON t.id = s.id WHEN MATCHED THEN DELETE")
    refuse(f"TRUNCATE {TABLE}")
    refuse(f"TRUNCATE shop_product, {TABLE}")


def test_new_entries_are_written(entry: Entry) -> None:
    record("invoice.paid")
    assert Entry.objects.count() == 2


def test_nothing_is_installed_in_databases_of_the_test_runner() -> None:
    assert triggers.is_test_database(connection)
    assert triggers.installed(connection, Entry) == set()


def test_operation_installs_and_removes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "is_test_database", lambda connection: False)
    from django.db.migrations.loader import MigrationLoader

    state: ProjectState = MigrationLoader(connection).project_state()
    operation = AppendOnly("Entry")
    with connection.schema_editor() as editor:
        operation.database_forwards("dovetail_audit", editor, state, state)
        operation.database_forwards("dovetail_audit", editor, state, state)
    try:
        assert triggers.installed(connection, Entry) == set(triggers.names(connection, Entry))
    finally:
        with connection.schema_editor() as editor:
            operation.database_backwards("dovetail_audit", editor, state, state)
    assert triggers.installed(connection, Entry) == set()


def test_owner_deletes_with_suspended_triggers(entry: Entry) -> None:
    with transaction.atomic(), triggers.suspended(connection):
        Entry._base_manager.all().delete()
    assert not Entry.objects.exists()
    assert triggers.installed(connection, Entry) == set(triggers.names(connection, Entry))


def test_failed_deletion_leaves_the_triggers(entry: Entry) -> None:
    def delete() -> None:
        with transaction.atomic(), triggers.suspended(connection):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        delete()
    assert triggers.installed(connection, Entry) == set(triggers.names(connection, Entry))
    refuse(f"DELETE FROM {TABLE}")


def test_suspension_without_a_transaction_is_refused(entry: Entry) -> None:
    with pytest.raises(RuntimeError, match="needs a transaction"), triggers.suspended(connection):
        pass


def test_suspension_without_triggers_changes_nothing() -> None:
    with transaction.atomic(), CaptureQueriesContext(connection) as queries, triggers.suspended(connection):
        pass
    assert len(queries) == 1


def test_tampering_passes_the_triggers(entry: Entry) -> None:
    tamper(entry, action="other.action")
    assert Entry.objects.get().action == "other.action"
    refuse(f"DELETE FROM {TABLE}")
    tamper(entry)
    assert not Entry.objects.exists()
