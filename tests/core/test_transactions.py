from __future__ import annotations

import re
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, IntegrityError, OperationalError, connections, transaction
from django.db.models import Manager
from django.views.debug import ExceptionReporter

from dovetail_core.transactions import (
    Vanished,
    is_conflict,
    is_foreign_key_violation,
    lock,
    lock_shared,
    lock_shared_by_key,
    retry_on_conflict,
)


class PostgresError(Exception):
    def __init__(self, sqlstate: str, message: str = "") -> None:
        self.sqlstate = sqlstate
        self.diag = SimpleNamespace(message_primary=message)


def caused(error: DatabaseError, cause: Exception) -> DatabaseError:
    error.__cause__ = cause
    return error


def deadlock() -> DatabaseError:
    return caused(OperationalError("deadlock detected"), PostgresError("40P01"))


class Service:
    """Raises the errors one after another, then returns ``"done"``."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.calls = list(errors), 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


@pytest.mark.parametrize(
    "error", [deadlock(), OperationalError(1213, "Deadlock found"), Vanished(), Group.DoesNotExist()]
)
def test_conflict_is_repeated_once(error: Exception) -> None:
    service = Service(error)
    assert retry_on_conflict(Service.__call__)(service) == "done"
    service = Service(error, error, error)
    with pytest.raises(type(error)):
        retry_on_conflict(Service.__call__)(service)
    assert service.calls == 2


@pytest.mark.parametrize(
    "error", [ValueError(), IntegrityError("UNIQUE constraint failed"), OperationalError(1054, "x")]
)
def test_other_error_is_not_repeated(error: Exception) -> None:
    service = Service(error)
    with pytest.raises(type(error)):
        retry_on_conflict(Service.__call__)(service)
    assert service.calls == 1


@pytest.mark.django_db
def test_conflict_inside_a_transaction_is_not_repeated() -> None:
    service = Service(deadlock())
    with pytest.raises(OperationalError), transaction.atomic():
        retry_on_conflict(Service.__call__)(service)
    assert service.calls == 1


@pytest.mark.parametrize(
    ("error", "conflict", "foreign_key"),
    [
        (caused(OperationalError(), PostgresError("40001")), True, False),
        (caused(OperationalError(), PostgresError("08006")), False, False),
        (OperationalError(1205, "Lock wait timeout exceeded"), True, False),
        (OperationalError(2006, "Server has gone away"), False, False),
        (caused(OperationalError("database is locked"), sqlite3.OperationalError()), True, False),
        (caused(IntegrityError(), PostgresError("23503")), False, True),
        (caused(IntegrityError(), PostgresError("23505")), False, False),
        (IntegrityError(1452, "Cannot add or update a child row"), False, True),
        (IntegrityError(1451, "Cannot delete or update a parent row"), False, False),
        (caused(IntegrityError(), PostgresError("23503", "table »a« … constraint »b«")), False, True),
        (caused(IntegrityError(), PostgresError("23503", 'table "c" … constraint "b" on table "a"')), False, False),
        (caused(IntegrityError(), PostgresError("23503", "table «c» … constraint «b» … table «a»")), False, False),
        (IntegrityError("FOREIGN KEY constraint failed"), False, True),
        (ValueError("database is locked"), False, False),
    ],
)
def test_errors_are_recognized(error: Exception, conflict: bool, foreign_key: bool) -> None:
    assert (is_conflict(error), is_foreign_key_violation(error)) == (conflict, foreign_key)


@pytest.mark.django_db(transaction=True)
def test_foreign_key_to_a_deleted_row_raises_vanished() -> None:
    calls = []

    @retry_on_conflict
    @transaction.atomic
    def create() -> None:
        calls.append(1)
        Permission.objects.create(name="x", codename="x", content_type_id=10**6)

    with pytest.raises(Vanished):
        create()
    assert (len(calls), Permission.objects.filter(codename="x").count()) == (2, 0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(
    "connections['default'].vendor == 'sqlite'", reason="needs PostgreSQL or MariaDB: SQLite has one error for both"
)
def test_deletion_of_a_row_that_a_table_refers_to_is_no_vanished_row() -> None:
    type_ = ContentType.objects.create(app_label="x", model="x")
    Permission.objects.create(name="x", codename="x", content_type=type_)

    @retry_on_conflict
    @transaction.atomic
    def delete() -> None:
        # Without the collector, as if no model had the foreign key.
        ContentType.objects.filter(pk=type_.pk)._raw_delete("default")

    try:
        with pytest.raises(IntegrityError):
            delete()
    finally:
        type_.delete()


@pytest.mark.django_db
def test_update_of_a_deleted_row_raises_vanished() -> None:
    group = Group.objects.create(name="Poets")
    Group.objects.all().delete()
    with pytest.raises(Vanished):
        retry_on_conflict(group.save)(update_fields=["name"])


def test_arguments_are_hidden_from_error_reports() -> None:
    @retry_on_conflict
    def sign_in(password: str) -> None:
        raise OperationalError(1213, "Deadlock found")

    try:
        sign_in("hunter2")
    except OperationalError:
        report = ExceptionReporter(None, *sys.exc_info())
    frames = [frame for frame in report.get_traceback_frames() if frame["filename"].endswith("core/transactions.py")]
    assert frames
    assert "hunter2" not in repr([frame["vars"] for frame in frames])


@pytest.mark.django_db
@pytest.mark.parametrize("deleting", [False, True])
def test_lock_returns_the_present_row(deleting: bool) -> None:
    group = Group.objects.create(name="Poets")
    Group.objects.update(name="Playwrights")
    with transaction.atomic():
        assert lock(Group.objects.filter(pk=group.pk), deleting=deleting).name == "Playwrights"


@pytest.mark.django_db
@pytest.mark.parametrize("locked", [lock, lock_shared])
def test_lock_of_a_deleted_row_raises_vanished(locked: Callable[..., Any]) -> None:
    with pytest.raises(Vanished), transaction.atomic():
        locked(Group.objects.filter(pk=0))


@pytest.fixture(params=["postgresql", "mysql"])
def locking(
    request: pytest.FixtureRequest, db: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, list[str]]]:
    """The vendor of a database with row locks, and the statements that it receives.

    The lane's database replaces a database of another vendor. It receives the statements without the clauses that lock.
    """
    vendor, connection, statements = request.param, connections["default"], []
    replaced = connection.vendor != vendor

    def execute(run: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        statements.append(sql)
        return run(re.sub(r" (FOR|LOCK IN) [A-Z ]+(?=\)|$)", "", sql) if replaced else sql, *arguments)

    with monkeypatch.context() as patch, connection.execute_wrapper(execute):
        if replaced:
            patch.setattr(connection, "vendor", vendor)
            patch.setattr(connection.features, "has_select_for_update", True)
            patch.setattr(connection.features, "has_select_for_no_key_update", vendor == "postgresql")
        yield vendor, statements


@pytest.mark.parametrize(
    ("locked", "clauses"),
    [
        (lock, {"postgresql": "FOR NO KEY UPDATE", "mysql": "FOR UPDATE"}),
        (partial(lock, deleting=True), {"postgresql": "FOR UPDATE", "mysql": "FOR UPDATE"}),
        (lock_shared, {"postgresql": "FOR KEY SHARE", "mysql": "LOCK IN SHARE MODE"}),
    ],
    ids=["lock", "lock for deletion", "shared lock"],
)
def test_row_lock_is_the_weakest_that_suffices(
    locked: Callable[..., Any], clauses: dict[str, str], locking: tuple[str, list[str]]
) -> None:
    group = Group.objects.create(name="Poets")
    vendor, statements = locking
    statements.clear()
    with transaction.atomic():
        locked(Group.objects.filter(pk=group.pk))
    (statement,) = [sql for sql in statements if sql.startswith("SELECT")]
    assert statement.endswith(clauses[vendor])


@pytest.mark.usefixtures("locking")
@pytest.mark.parametrize("locked", [lock, lock_shared])
def test_row_lock_of_a_deleted_row_raises_vanished(locked: Callable[..., Any]) -> None:
    with pytest.raises(Vanished), transaction.atomic():
        locked(Group.objects.filter(pk=0))


@pytest.mark.parametrize("locked", [lock, lock_shared])
def test_parents_are_locked_in_their_order(locked: Callable[..., Any], locking: tuple[str, list[str]]) -> None:
    groups = [Group.objects.create(name=name) for name in ("Poets", "Sailors", "Cooks")]
    first, second, child = (Group.objects.filter(pk=group.pk) for group in groups)
    vendor, statements = locking
    statements.clear()
    with transaction.atomic():
        locked(child, parents=[first, second])
    selects = [sql for sql in statements if sql.startswith("SELECT")]
    assert len(selects) == (1 if vendor == "postgresql" else 3)
    if vendor == "postgresql":
        assert selects[0].count("FOR KEY SHARE) IS NOT NULL") == 2
    deleted = Group.objects.filter(pk=0)
    for rows, parents in ((deleted, [first]), (child, [first, deleted]), (child, [deleted, first])):
        with pytest.raises(Vanished), transaction.atomic():
            locked(rows, parents=parents)


def test_shared_lock_by_key_is_compiled_once(locking: tuple[str, list[str]]) -> None:
    groups = [Group.objects.create(name=name) for name in ("Poets", "Sailors")]
    vendor, statements = locking
    statements.clear()
    with transaction.atomic():
        for group in groups:
            lock_shared_by_key(Group, group.pk)
    first, second = [sql for sql in statements if sql.startswith("SELECT")]
    assert first == second
    assert first.endswith({"postgresql": "FOR KEY SHARE", "mysql": "LOCK IN SHARE MODE"}[vendor])
    with pytest.raises(Vanished, match=r"auth\.Group"), transaction.atomic():
        lock_shared_by_key(Group, 0)


@pytest.mark.django_db
def test_shared_lock_by_key_works_on_every_database() -> None:
    group = Group.objects.create(name="Poets")
    with transaction.atomic():
        lock_shared_by_key(Group, group.pk, using="default")
    with pytest.raises(Vanished), transaction.atomic():
        lock_shared_by_key(Group, 0)


@pytest.mark.usefixtures("locking")
def test_shared_lock_by_key_asks_a_manager_of_the_project() -> None:
    class OfTenant(Manager["Group"]):
        def get_queryset(self) -> Any:
            return super().get_queryset().filter(name=tenant)

    class Model:
        _base_manager, _meta = OfTenant(), Group._meta

    Model._base_manager.model = Group
    model: Any = Model
    group, tenant = Group.objects.create(name="Poets"), "Poets"
    with transaction.atomic():
        lock_shared_by_key(model, group.pk, using="default")
    tenant = "Sailors"
    with pytest.raises(Vanished), transaction.atomic():
        lock_shared_by_key(model, group.pk, using="default")


class ReplicaRouter:
    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica"


@pytest.mark.django_db
@pytest.mark.parametrize("locked", [lock, lock_shared])
def test_lock_is_taken_in_database_for_writing(locked: Callable[..., Any], settings: Any) -> None:
    group = Group.objects.create(name="Poets")
    settings.DATABASE_ROUTERS = [ReplicaRouter()]
    # A query to the replica, which does not exist, would raise.
    with transaction.atomic():
        locked(Group.objects.filter(pk=group.pk))


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connections['default'].vendor == 'sqlite'", reason="SQLite has one writer")
def test_shared_lock_stops_deletion_and_no_other_shared_lock() -> None:
    group = Group.objects.create(name="Poets")
    rows = Group.objects.filter(pk=group.pk)
    outcomes: list[Any] = []

    def compete() -> None:
        try:
            with transaction.atomic():
                lock_shared(rows)
                outcomes.append("shared")
            with transaction.atomic():
                outcomes.append(rows.select_for_update(nowait=True).first())
        except OperationalError:
            outcomes.append("locked")
        finally:
            connections.close_all()

    with transaction.atomic():
        lock_shared(rows)
        thread = threading.Thread(target=compete)
        thread.start()
        thread.join(timeout=30)
    assert outcomes == ["shared", "locked"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(
    "connections['default'].vendor != 'postgresql'", reason="needs row locks: set DATABASE_URL to a PostgreSQL database"
)
@pytest.mark.parametrize("vanishes", [False, True])
@pytest.mark.parametrize("locked", [lock, lock_shared])
def test_parents_are_locked_before_the_child(locked: Callable[..., Any], vanishes: bool) -> None:
    groups = [Group.objects.create(name=name) for name in ("Poets", "Sailors", "Cooks")]
    first, second, child = (Group.objects.filter(pk=group.pk) for group in groups)
    outcomes: list[Any] = []

    def compete() -> None:
        try:
            with transaction.atomic():
                row = locked(child, parents=[first, second])
                outcomes.append(row.name if row else "shared")
        except Vanished:
            outcomes.append("vanished")
        finally:
            connections.close_all()

    with transaction.atomic():
        lock(first, deleting=True)
        thread = threading.Thread(target=compete)
        thread.start()
        thread.join(timeout=0.1)
        assert thread.is_alive()
        # While it waits for the first parent, it holds neither of the other locks.
        for rows in (second, child):
            assert rows.select_for_update(nowait=True).first() is not None
        child.update(name="Chefs")
        if vanishes:
            first.delete()
    thread.join(timeout=30)
    # The name is newer than the snapshot of the statement that waited.
    assert outcomes == ["vanished" if vanishes else "Chefs" if locked is lock else "shared"]
