"""The backend sends no savepoint before the first statement of a transaction, and no query to check a connection."""

from __future__ import annotations

import select
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import DataError, IntegrityError, connection, connections, transaction
from psycopg import pq

from dovetail_tenancy import tenant
from tests.tenancy.documents.models import Document, Folder
from tests.tenancy.row_security import statements

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


@contextmanager
def messages() -> Iterator[list[str]]:
    """Yield a list that holds the queries which the server got, in the end."""
    connection.ensure_connection()
    server: Any = connection.connection.pgconn
    sent: list[str] = []
    with tempfile.TemporaryFile("w+") as file:
        server.trace(file.fileno())
        server.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS)
        yield sent
        server.untrace()
        file.seek(0)
        sent += [line for line in file if line.startswith("F") and ("\tQuery\t" in line or "\tParse\t" in line)]


def titles() -> list[str]:
    return statements.execute()


def add(title: str) -> None:
    Document.objects.create(title=title, folder=Folder.objects.get())


def end_connection(organization: Any) -> Any:
    """End the server process of the connection, which was in use, and return the driver's connection."""
    with tenant(organization):
        titles()
    driver: Any = connection.connection
    other = connections.create_connection("default")
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [driver.info.backend_pid])
    finally:
        other.close()
    assert select.select([driver.fileno()], [], [], 5)[0]
    return driver


class Failure(Exception):
    pass


@transaction.atomic
def fail_after_writing(called: list[str]) -> None:
    add("lost")
    with transaction.atomic():
        add("lost too")
    transaction.on_commit(lambda: called.append("lost"))
    raise Failure


@transaction.atomic
def violate_a_constraint() -> None:
    add("lost")
    Document.objects.create(title="without a folder")


def test_savepoint_before_the_first_statement_is_not_sent(acme: Any) -> None:
    with messages() as sent, tenant(acme), transaction.atomic(), transaction.atomic(), transaction.atomic():
        add("new")
    assert not [text for text in sent if "SAVEPOINT" in text]
    with messages() as sent, tenant(acme), transaction.atomic():
        add("second")
        with transaction.atomic():
            add("third")
    assert len([text for text in sent if "SAVEPOINT" in text]) == 2


def test_failure_in_the_first_block_is_rolled_back_alone(acme: Any) -> None:
    called: list[str] = []
    with tenant(acme):
        with transaction.atomic():
            with pytest.raises(Failure):
                fail_after_writing(called)
            with transaction.atomic():
                add("new")
                transaction.on_commit(lambda: called.append("new"))
        assert titles() == ["a1", "a2", "new"]
    assert called == ["new"]


def test_failed_statement_in_the_first_block_leaves_the_transaction_usable(acme: Any, globex: Any) -> None:
    with tenant(acme):
        with transaction.atomic():
            with pytest.raises(IntegrityError):
                violate_a_constraint()
            assert titles() == ["a1", "a2"]
            with tenant(globex):
                assert titles() == ["g1"]
            add("new")
        assert titles() == ["a1", "a2", "new"]


def test_initial_savepoint_can_be_rolled_back_to_twice(acme: Any) -> None:
    with tenant(acme), transaction.atomic():
        savepoint = connection.savepoint()
        for title in ("first", "second"):
            add(title)
            connection.savepoint_rollback(savepoint)
            assert titles() == ["a1", "a2"]
        connection.savepoint_commit(savepoint)


def test_savepoint_of_an_earlier_connection_is_forgotten(acme: Any) -> None:
    transaction.set_autocommit(False)
    try:
        first = connection.savepoint()
        connection.close()
        transaction.set_autocommit(False)
        with tenant(acme):
            add("new")
        # Django numbers the savepoints of each connection from the start.
        connection.clean_savepoints()
        connection.savepoint_state = int(first.rpartition("x")[2]) - 1
        again = connection.savepoint()
        assert again == first
        connection.savepoint_rollback(again)
        with tenant(acme):
            assert titles() == ["a1", "a2", "new"]
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)


def test_check_of_a_connection_in_use_sends_nothing(acme: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dovetail_tenancy.backends.postgresql.base.RECENTLY", 60)
    with tenant(acme):
        titles()
    with messages() as sent:
        assert connection.is_usable()
        assert connection.is_usable()
    assert sent == []


def test_check_of_a_connection_after_a_pause_sends_a_query(acme: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dovetail_tenancy.backends.postgresql.base.RECENTLY", 0)
    with tenant(acme):
        titles()
    with messages() as sent:
        assert connection.is_usable()
        with tenant(acme):
            titles()
    # The check does not remove the organization, so the next request of the same one does not send it again.
    assert [("SELECT 1" in text, "SET" in text) for text in sent] == [(True, False), (False, False)]


def test_connection_that_the_server_ended_is_not_usable(acme: Any) -> None:
    end_connection(acme)
    try:
        assert not connection.is_usable()
    finally:
        connection.close()


def test_check_in_a_failed_transaction_of_the_driver_is_not_usable(acme: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        with pytest.raises(DataError):
            cursor.execute("SELECT 1/0")
    try:
        assert not connection.is_usable()
    finally:
        connection.close()


def test_next_request_after_a_restart_gets_a_new_connection(acme: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "CONN_HEALTH_CHECKS", True)
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", None)
    driver = end_connection(acme)
    connection.health_check_enabled = True
    connection.health_check_done = False
    with tenant(acme):
        assert titles() == ["a1", "a2"]
    assert connection.connection is not driver
