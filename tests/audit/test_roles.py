"""What the application's role can do to the entries after ``audit_protect``, and partitions."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, OperationalError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from dovetail_audit import record
from dovetail_audit.models import Entry
from dovetail_audit.protection import locks, partitions, roles, triggers
from dovetail_audit.services import seal
from dovetail_audit.testing import append_only
from dovetail_audit.verification.scan import verify

pytestmark = pytest.mark.django_db(transaction=True)

on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="needs PostgreSQL: roles and partitions")
APP, OWNER = "audit_tests_app", "audit_tests_owner"
TABLE = "dovetail_audit_entry"


def run(*statements: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture
def protected() -> Iterator[Entry]:
    """The tables as ``audit_protect`` leaves them, with one entry."""
    run(*(f"DROP ROLE IF EXISTS {name}" for name in (APP, OWNER)), f"CREATE ROLE {APP}", f"CREATE ROLE {OWNER}")
    entry = record("invoice.paid")
    with append_only():
        # As in a project whose application migrates.
        run(f"ALTER TABLE {TABLE} OWNER TO {APP}", f"ALTER FUNCTION dovetail_audit_refuse() OWNER TO {APP}")
        try:
            call_command("audit_protect", role=APP, owner=OWNER, execute=True, stdout=io.StringIO())
            yield entry
        finally:
            run(
                "RESET ROLE",
                f"REASSIGN OWNED BY {OWNER} TO CURRENT_USER",
                *(f"DROP OWNED BY {name}" for name in (APP, OWNER)),
                *(f"DROP ROLE {name}" for name in (APP, OWNER)),
            )


def as_app(*statements: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {APP}")
        for statement in statements:
            cursor.execute(statement)


@on_postgresql
@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE {TABLE} SET action = 'other.action'",
        f"DELETE FROM {TABLE}",
        f"TRUNCATE {TABLE}",
        f"ALTER TABLE {TABLE} DISABLE TRIGGER ALL",
        f"ALTER TABLE {TABLE} DISABLE TRIGGER {TABLE}_no_delete",
        f"DROP TRIGGER {TABLE}_no_delete ON {TABLE}",
        f"DROP TABLE {TABLE}",
        "SET session_replication_role = replica",
        "CREATE OR REPLACE FUNCTION dovetail_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
        f"SET ROLE {OWNER}",
        "DELETE FROM dovetail_audit_leaf",
        "UPDATE dovetail_audit_checkpoint SET root = ''",
        "DELETE FROM dovetail_audit_checkpoint",
    ],
)
def test_application_role_is_refused(protected: Entry, statement: str) -> None:
    with pytest.raises(DatabaseError, match=r"permission denied|must be owner|must be member"):
        # SET ROLE to the superuser of the tests is undone by session_authorization.
        as_app(statement) if not statement.startswith("SET ROLE") else _as_member(statement)
    assert Entry.objects.get().action == "invoice.paid"


def _as_member(statement: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL SESSION AUTHORIZATION {APP}")
        cursor.execute(statement)


@on_postgresql
def test_application_role_records_and_erases(protected: Entry) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {APP}")
        record("invoice.sent")
        cursor.execute(
            f"UPDATE {TABLE} SET actor_label = NULL, target_label = NULL, ip = NULL, user_agent = NULL, "
            "private = NULL, salt = NULL, erased_at = now()"
        )
        assert not roles.owns(connection, Entry)
    assert Entry.objects.filter(erased_at__isnull=False).count() == 2


@on_postgresql
def test_application_role_seals(protected: Entry) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {APP}")
        assert seal() is not None


@on_postgresql
def test_command_prints_without_running() -> None:
    out = io.StringIO()
    call_command("audit_protect", role="app", owner="owner", eraser="eraser", stdout=out)
    assert f'ALTER TABLE "{TABLE}" OWNER TO "owner";' in out.getvalue()
    assert 'TO "eraser";' in out.getvalue()


@on_postgresql
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"role": "app"}, "--owner must name another role"),
        ({"role": "app", "owner": "app"}, "--owner must name another role"),
        ({"role": 'app"; DROP TABLE x', "owner": "owner"}, "is not the name of a role"),
    ],
)
def test_wrong_role_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(CommandError, match=text):
        call_command("audit_protect", **options)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="needs SQLite: no roles")
def test_database_without_roles_is_refused() -> None:
    with pytest.raises(CommandError, match="SQLite has no roles"):
        call_command("audit_protect", role="app")


on_mariadb = pytest.mark.skipif(connection.vendor != "mysql", reason="needs MariaDB: rights of an account")


@pytest.fixture
def account() -> Iterator[str]:
    run("DROP USER IF EXISTS audit_tests_app", "CREATE USER audit_tests_app")
    yield "audit_tests_app"
    run("DROP USER audit_tests_app")


def grants_of(account: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW GRANTS FOR {account}")
        return "\n".join(row[0] for row in cursor.fetchall())


@on_mariadb
@pytest.mark.parametrize("level", ["*.*", "`{0}`.*", "`{1}`.*", "`{0}`.dovetail_audit_entry"])
def test_rights_are_revoked_where_they_were_granted(account: str, level: str) -> None:
    name = str(connection.settings_dict["NAME"])
    place = level.format(name, name.replace("_", "\\_"))
    run(f"GRANT ALL ON {place} TO {account}")
    call_command("audit_protect", role=account, execute=True, stdout=io.StringIO())
    rights = grants_of(account)
    assert not re.search(r"ALL PRIVILEGES|\b(DROP|ALTER|CREATE|TRIGGER)(,| ON)", rights), rights
    assert "INSERT" in rights
    # A second run has nothing to revoke.
    call_command("audit_protect", role=account, execute=True, stdout=io.StringIO())


@on_mariadb
def test_rights_on_other_databases_stay(account: str) -> None:
    run(f"GRANT ALL ON `other\\_database`.* TO {account}")
    out = io.StringIO()
    call_command("audit_protect", role=account, stdout=out)
    assert out.getvalue().strip() == ""
    assert roles.may_truncate(connection)


@on_mariadb
def test_unknown_account_is_named() -> None:
    with pytest.raises(CommandError, match="Create the account first"):
        call_command("audit_protect", role="nobody@localhost")


@pytest.mark.skipif(connection.vendor == "postgresql", reason="needs SQLite or MariaDB: no partitions")
def test_partitions_need_postgresql() -> None:
    with pytest.raises(CommandError, match="Partitions need PostgreSQL"):
        call_command("audit_partition")


@pytest.fixture
def plain_table() -> Iterator[None]:
    """Put the plain table back: tests of other modules delete all rows of it."""
    yield
    if partitions.is_partitioned(connection):
        with connection.schema_editor() as editor:
            editor.execute(f"DROP TABLE {TABLE}")
            editor.create_model(Entry)


NOW = datetime(2026, 11, 15, tzinfo=UTC)


@on_postgresql
@pytest.mark.usefixtures("plain_table")
def test_partitioned_table_works_like_the_plain_one() -> None:
    indexes = constraint_names()
    created = partitions.partition(connection, months=2, now=NOW)
    assert created == [f"{TABLE}_2026_11", f"{TABLE}_2026_12", f"{TABLE}_2027_01"]
    assert partitions.partition(connection, months=3, now=NOW) == [f"{TABLE}_2027_02"]
    assert constraint_names() == indexes
    entry = record("invoice.paid")
    assert Entry.objects.get(pk=entry.pk).action == "invoice.paid"
    with append_only():
        for statement in (f"UPDATE {TABLE} SET action = 'a.b'", f"DELETE FROM {TABLE}", f"TRUNCATE {TABLE}"):
            with pytest.raises(DatabaseError, match="append-only"):
                run(statement)


@on_postgresql
@pytest.mark.usefixtures("plain_table")
def test_partitions_keep_the_triggers() -> None:
    for model in (Entry,):
        triggers.install(connection, model)
    partitions.partition(connection, months=0, now=NOW)
    partitions.partition(connection, months=1, now=NOW)
    assert triggers.installed(connection, Entry) == set(triggers.names(connection, Entry))
    for name in (f"{TABLE}_default", f"{TABLE}_2026_11", f"{TABLE}_2026_12"):
        with pytest.raises(DatabaseError, match="append-only"):
            run(f"TRUNCATE {name}")


@on_postgresql
@pytest.mark.usefixtures("plain_table")
def test_entry_is_in_the_partition_of_its_month() -> None:
    now = datetime.now(UTC)
    partitions.partition(connection, months=1, now=now)
    record("invoice.paid")
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT tableoid::regclass::text FROM {TABLE}")
        assert cursor.fetchone()[0] in {f"{TABLE}_{month:%Y_%m}" for month in (now, now + timedelta(minutes=5))}


@on_postgresql
@pytest.mark.usefixtures("plain_table")
def test_late_partition_takes_the_entries_of_its_month() -> None:
    """The command did not run in time, so the month began in the default partition."""
    triggers.install(connection, Entry)
    now = datetime.now(UTC)
    partitions.partition(connection, months=0, now=now - timedelta(days=62))
    entry = record("invoice.paid")
    created = partitions.partition(connection, months=1, now=now)
    assert f"{TABLE}_{now:%Y_%m}" in created
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT tableoid::regclass::text FROM {TABLE} WHERE id = %s", [entry.pk])
        assert cursor.fetchone()[0] == f"{TABLE}_{now:%Y_%m}"
    assert Entry.objects.get() == entry
    assert triggers.installed(connection, Entry) == set(triggers.names(connection, Entry))
    for statement in ("UPDATE {0} SET action = 'a.b'", "DELETE FROM {0}", "TRUNCATE {0}"):
        with pytest.raises(DatabaseError, match="append-only"):
            run(statement.format(f"{TABLE}_{now:%Y_%m}"))
    seal()
    assert list(verify()) == []


@on_postgresql
@pytest.mark.usefixtures("plain_table")
def test_entries_become_the_partition_before_the_next_month() -> None:
    triggers.install(connection, Entry)
    indexes, now = constraint_names(), datetime.now(UTC)
    entries = [record("invoice.paid"), record("invoice.sent")]
    seal()
    created = partitions.partition(connection, months=2, now=now)
    first = f"{TABLE}_before_{months_after(now, 1)}"
    assert created == [first, f"{TABLE}_{months_after(now, 1)}", f"{TABLE}_{months_after(now, 2)}"]
    assert partitions.partition(connection, months=3, now=now) == [f"{TABLE}_{months_after(now, 3)}"]
    assert constraint_names() == indexes
    assert list(Entry.objects.order_by("pk")) == entries
    assert partition_of(record("invoice.paid")) == first
    for name in (TABLE, first, f"{TABLE}_default", created[1]):
        with pytest.raises(DatabaseError, match="append-only"):
            run(f"TRUNCATE {name}")
    for statement in ("UPDATE {0} SET action = 'a.b'", "DELETE FROM {0}"):
        for name in (TABLE, first):
            with pytest.raises(DatabaseError, match="append-only"):
                run(statement.format(name))
    seal()
    assert list(verify()) == []


@on_postgresql
@pytest.mark.usefixtures("plain_table")
def test_first_partition_keeps_its_indexes_and_is_skipped_by_later_searches() -> None:
    now = datetime.now(UTC)
    record("invoice.paid")
    (indexes,) = rows_of(f"SELECT array_agg(indexrelid ORDER BY indexrelid) FROM pg_index WHERE {of_table(TABLE)}")
    (first, *_) = partitions.partition(connection, months=1, now=now)
    query = f"SELECT array_agg(indexrelid ORDER BY indexrelid) FROM pg_index WHERE {of_table(first)}"
    assert rows_of(query) == [indexes]
    later = partitions.floor(partitions._next(partitions._first_day(now)))
    plan = str(rows_of(f"EXPLAIN SELECT * FROM {TABLE} WHERE id >= '{later}'"))
    assert first not in plan
    assert f"{TABLE}_{months_after(now, 1)}" in plan


@on_postgresql
@pytest.mark.usefixtures("plain_table")
def test_partitioned_table_keeps_its_owner_and_rights(protected: Entry) -> None:
    rights = (
        f"SELECT relowner, relacl::text, (SELECT array_agg((attname, attacl::text) ORDER BY attname) FROM pg_attribute "
        f"WHERE attrelid = '{TABLE}'::regclass AND attacl IS NOT NULL) FROM pg_class WHERE oid = '{TABLE}'::regclass"
    )
    before = rows_of(rights)
    (first, *_) = partitions.partition(connection, months=0, now=datetime.now(UTC))
    assert rows_of(rights) == before
    as_app(f"SELECT 1 FROM {TABLE}")
    for name in (TABLE, first):
        with pytest.raises(DatabaseError, match="permission denied"):
            as_app(f"DELETE FROM {name}")


@on_postgresql
@pytest.mark.usefixtures("plain_table")
def test_entry_of_the_future_stops_the_partitioning() -> None:
    record("invoice.paid")
    with pytest.raises(partitions.NotPartitioned, match=r"An entry has an id of \d{4}-\d\d or later"):
        partitions.partition(connection, months=0, now=datetime.now(UTC) - timedelta(days=62))
    assert not partitions.is_partitioned(connection)


@on_postgresql
@pytest.mark.parametrize("months", [-1, 121])
def test_wrong_number_of_months_is_refused(months: int) -> None:
    with pytest.raises(CommandError, match="--months must be from 0 to 120"):
        call_command("audit_partition", months=months)


@on_postgresql
@pytest.mark.usefixtures("plain_table")
def test_command_names_the_partitions() -> None:
    out = io.StringIO()
    call_command("audit_partition", months=0, stdout=out)
    assert out.getvalue().startswith(f"Partitions created: {TABLE}_")


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Iterator[BaseDatabaseWrapper]:
    """A second connection, for whose locks the commands wait a short time."""
    monkeypatch.setattr(locks, "LOCK_WAIT", 200)
    other = connection.copy()
    yield other
    other.close()


@on_postgresql
@pytest.mark.usefixtures("plain_table")
def test_partitioning_names_the_transaction_that_holds_the_table(other: BaseDatabaseWrapper) -> None:
    with transaction_of(other, f"SELECT 1 FROM {TABLE}") as pid:
        with pytest.raises(CommandError, match=rf"{TABLE} by process {pid} of role \w+ \(idle in transaction, "):
            call_command("audit_partition")
        assert not partitions.is_partitioned(connection)
    call_command("audit_partition", months=0, stdout=io.StringIO())
    assert partitions.is_partitioned(connection)
    with transaction_of(other, f"SELECT 1 FROM {TABLE}"), pytest.raises(CommandError, match="pg_terminate_backend"):
        call_command("audit_partition", months=1)


@on_postgresql
def test_protection_names_the_transaction_that_holds_a_table(protected: Entry, other: BaseDatabaseWrapper) -> None:
    with (
        transaction_of(other, "SELECT 1 FROM dovetail_audit_tile") as pid,
        pytest.raises(CommandError, match=f"dovetail_audit_tile by process {pid} "),
    ):
        call_command("audit_protect", role=APP, owner=OWNER, execute=True)
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone()[0] == "0"


@contextmanager
def transaction_of(other: BaseDatabaseWrapper, statement: str) -> Iterator[int]:
    other.set_autocommit(False)
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
        cursor.execute(statement)
    yield pid
    other.rollback()
    other.set_autocommit(True)


@on_mariadb
def test_protection_stops_at_locked_tables_of_rights(account: str, other: BaseDatabaseWrapper) -> None:
    run(f"GRANT ALL ON `{connection.settings_dict['NAME']}`.* TO {account}")
    waits = "SELECT @@SESSION.lock_wait_timeout, @@SESSION.max_statement_time"
    with connection.cursor() as cursor, other.cursor() as locking:
        cursor.execute(waits)
        before = cursor.fetchone()
        locking.execute("LOCK TABLES mysql.global_priv READ")
        with pytest.raises(CommandError, match="SHOW FULL PROCESSLIST"):
            call_command("audit_protect", role=account, execute=True)
        locking.execute("UNLOCK TABLES")
        cursor.execute(waits)
        assert cursor.fetchone() == before
    assert "DROP" in grants_of(account) or "ALL PRIVILEGES" in grants_of(account)
    call_command("audit_protect", role=account, execute=True, stdout=io.StringIO())
    assert "ALL PRIVILEGES" not in grants_of(account)


def test_other_errors_of_the_database_are_not_conflicts() -> None:
    with pytest.raises(OperationalError, match="nonsense"), locks.transaction_with_limited_waits(connection):
        raise OperationalError("nonsense")


def partition_of(entry: Entry) -> str:
    ((name,),) = rows_of(f"SELECT tableoid::regclass::text FROM {TABLE} WHERE id = '{entry.pk}'")
    return str(name)


def of_table(name: str) -> str:
    return f"indrelid = '{name}'::regclass"


def rows_of(query: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def months_after(now: datetime, number: int) -> str:
    year, month = divmod(now.year * 12 + now.month - 1 + number, 12)
    return f"{year}_{month + 1:02}"


def constraint_names() -> list[str]:
    with connection.cursor() as cursor:
        return sorted(connection.introspection.get_constraints(cursor, TABLE))
