"""How the backend behaves beside what else a project does with its connections."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, connections, transaction
from django.test import Client
from psycopg import sql

from dovetail_tenancy import get_organization_model, tenant, unscoped
from dovetail_tenancy.backends.postgresql.base import DatabaseWrapper
from dovetail_tenancy.row_security.policies import bypass_role
from dovetail_tenancy.row_security.session import Session
from tests.asynchronous import run
from tests.roles import administrator
from tests.tenancy.documents.factories import make_organization
from tests.tenancy.documents.models import Document
from tests.tenancy.row_security import statements

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


@contextmanager
def round_trips(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The statements that the backend sends of its own accord."""
    sent: list[Any] = []
    send = Session._send

    def record(self: Session, driver: Any, *parts: sql.Composable) -> None:
        sent.append([part.as_string(driver) for part in parts])
        send(self, driver, *parts)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "_send", record)
        yield sent


def test_one_more_round_trip_for_a_hundred_statements_of_one_organization(
    acme: Any, globex: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with round_trips(monkeypatch) as sent, tenant(acme):
        for _ in range(100):
            statements.execute()
    assert len(sent) == 1
    with round_trips(monkeypatch) as sent, transaction.atomic(), tenant(globex):
        for _ in range(100):
            assert Document.objects.count() == 1
    assert len(sent) == 1
    with round_trips(monkeypatch) as sent, transaction.atomic(), unscoped(reason="a test"):
        for _ in range(100):
            statements.execute()
    assert sent == [["SET LOCAL tenancy.organization TO ''", f'SET LOCAL ROLE "{bypass_role()}"']]


def test_nothing_is_sent_outside_of_transactions_in_transaction_mode(
    acme: Any, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    connection.ensure_connection()
    with round_trips(monkeypatch) as sent:
        with tenant(acme):
            statements.execute()
        statements.execute()
    session = any("SESSION" in part for parts in sent for part in parts)
    assert session == (mode == "session")


def test_a_transaction_chooses_its_isolation_level_first(acme: Any, mode: str) -> None:
    """The setting is no query: PostgreSQL takes the level only before the first."""
    for scope in (tenant(acme), unscoped(reason="a test")):
        with scope, transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
            cursor.execute("SHOW transaction_isolation")
            assert cursor.fetchone() == ("serializable",)


def test_utilities_that_refuse_transactions_run_under_unscoped(acme: Any, mode: str) -> None:
    with unscoped(reason="a test"), connection.cursor() as cursor:
        cursor.execute("VACUUM documents_folder")
        cursor.execute("CREATE INDEX CONCURRENTLY probe ON documents_folder (name)")
        cursor.execute("DROP INDEX CONCURRENTLY probe")


def test_many_comments_before_a_statement_are_read_once(acme: Any) -> None:
    """Tried in every way of reading them, they would take longer than there is time."""
    with unscoped(reason="a test"), connection.cursor() as cursor:
        cursor.execute("/* a */ -- b\n" * 200 + "SHOW transaction_isolation")
        cursor.execute("/* a */ -- b\n" * 200 + statements.TITLES)
        assert cursor.fetchall() == [("a1",), ("a2",)]


def test_a_schema_editor_that_does_not_begin_shows_nothing_more(acme: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError("out of order")

    monkeypatch.setattr("django.db.backends.base.schema.BaseDatabaseSchemaEditor.__enter__", fail)
    with pytest.raises(OSError, match="out of order"), connection.schema_editor():
        pass
    assert statements.execute() == []


def test_a_stream_keeps_the_organization_it_began_with(acme: Any, globex: Any, mode: str) -> None:
    """The policy's sub-select is evaluated once a statement; what is active afterwards does not change a cursor."""
    with transaction.atomic(), tenant(acme):
        rows = Document.objects.order_by("title").iterator(chunk_size=1)
        first = next(rows).title
        with tenant(globex):
            assert statements.execute() == ["g1"]
            assert [first, *(document.title for document in rows)] == ["a1", "a2"]


def test_threads_and_tasks_see_their_own(acme: Any, globex: Any, mode: str) -> None:
    titles = {acme: ["a1", "a2"], globex: ["g1"], None: []}

    async def look(organization: Any, *, thread_sensitive: bool) -> bool:
        def read() -> list[str]:
            try:
                return statements.execute()
            finally:
                if not thread_sensitive:
                    connections.close_all()

        scope = tenant(organization) if organization else unscoped(reason="a test")
        async with scope:
            await asyncio.sleep(0)
            found = await sync_to_async(read, thread_sensitive=thread_sensitive)()
            if organization:
                found_by_orm = [
                    title async for title in Document.objects.order_by("title").values_list("title", flat=True)
                ]
                assert found_by_orm == titles[organization]
        return bool(found == (titles[organization] if organization else ["a1", "a2", "g1"]))

    async def all_at_once() -> list[bool]:
        looks = [
            look(organization, thread_sensitive=thread_sensitive)
            for _ in range(8)
            for organization in titles
            for thread_sensitive in (True, False)
        ]
        return await asyncio.gather(*looks)

    assert run(all_at_once()) == [True] * 48


def test_a_plain_thread_is_shown_nothing(acme: Any, mode: str) -> None:
    seen: list[Any] = []

    def look() -> None:
        seen.append(statements.execute())
        connections.close_all()

    with tenant(acme):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert seen == [[]]


@pytest.fixture
def pooled(db: None) -> Iterator[DatabaseWrapper]:
    """Django's pool of psycopg, with one connection that all share."""
    given = connection.settings_dict
    wrapper = DatabaseWrapper({**given, "OPTIONS": {"pool": {"min_size": 1, "max_size": 1}}}, "pooled")
    yield wrapper
    wrapper.close()
    wrapper.close_pool()


def test_a_pools_connection_shows_its_next_user_nothing_of_the_last(acme: Any, globex: Any, pooled: Any) -> None:
    other = DatabaseWrapper(pooled.settings_dict, "pooled")

    def titles(wrapper: DatabaseWrapper) -> list[str]:
        with wrapper.cursor() as cursor:
            cursor.execute(statements.TITLES)
            return [title for (title,) in cursor.fetchall()]

    with tenant(globex):
        assert titles(other) == ["g1"]
    other.close()
    with tenant(acme):
        assert titles(pooled) == ["a1", "a2"]
    pooled.close()
    # Of which the wrapper knows: it showed Globex's rows when it had a connection last.
    with tenant(globex):
        assert titles(other) == ["g1"]
    other.close()
    assert titles(pooled) == []


def test_an_assumed_role_is_gone_back_to(acme: Any, given: dict[str, Any], mode: str) -> None:
    login = connection.settings_dict["USER"]
    service = f"{login}_assumed"
    names = {
        "service": sql.Identifier(service),
        "login": sql.Identifier(login),
        "may": sql.Identifier(f"{bypass_role()}_may"),
    }
    with administrator(given) as server:
        for statement in ("CREATE ROLE {service}", "GRANT {login} TO {service}"):
            server.execute(sql.SQL(statement).format(**names))
    connects = {
        **connection.settings_dict,
        "USER": given["USER"],
        "OPTIONS": {"assume_role": service, "tenancy_mode": mode},
    }
    wrapper = DatabaseWrapper(connects, "assumed")
    try:
        with wrapper.cursor() as cursor:
            for scope, role in (
                (tenant(acme), service),
                (unscoped(reason="a test"), bypass_role()),
                (tenant(acme), service),
            ):
                with scope, transaction_of(wrapper):
                    cursor.execute("SELECT current_user")
                    assert cursor.fetchone() == (role,)
    finally:
        wrapper.close()
        with administrator(given) as server:
            server.execute(sql.SQL("DROP ROLE {service}").format(**names))


@contextmanager
def transaction_of(wrapper: DatabaseWrapper) -> Iterator[None]:
    wrapper.set_autocommit(False)
    yield
    wrapper.commit()
    wrapper.set_autocommit(True)


def test_server_side_binding_is_synchronised_too(acme: Any) -> None:
    wrapper = DatabaseWrapper({**connection.settings_dict, "OPTIONS": {"server_side_binding": True}}, "binding")
    try:
        with tenant(acme), wrapper.cursor() as cursor:
            cursor.execute(statements.TITLES + " LIMIT %s", [5])
            assert cursor.fetchall() == [("a1",), ("a2",)]
        with tenant(acme), wrapper.chunked_cursor() as cursor:
            cursor.execute(statements.TITLES)
            assert cursor.fetchall() == [("a1",), ("a2",)]
    finally:
        wrapper.close()


def test_a_mode_that_there_is_not_is_told_with_those_that_there_are() -> None:
    with pytest.raises(ImproperlyConfigured, match="'statement'; it takes 'session' or 'transaction'"):
        DatabaseWrapper({**connection.settings_dict, "OPTIONS": {"tenancy_mode": "statement"}}, "odd")


def test_where_there_is_no_bypass_role_unscoped_stays_who_it_is(acme: Any, settings: Any, mode: str) -> None:
    """A project whose migrations have not run, or that has no row security, needs no role."""
    settings.TENANCY_BYPASS_ROLE = "nobody"
    with unscoped(reason="a test"):
        assert statements.shown()[1] == connection.settings_dict["USER"]
        assert statements.execute() == []


def test_who_is_shown_everything_anyway_need_not_become_anybody(acme: Any, migration_role: None, mode: str) -> None:
    with unscoped(reason="a test"):
        assert statements.shown()[1] == connection.settings_dict["USER"]
        assert statements.execute() == ["a1", "a2"]


def test_while_reporting_the_database_shows_what_the_orm_does(acme: Any, globex: Any, settings: Any, mode: str) -> None:
    settings.TENANCY_ENFORCEMENT = "report"
    assert statements.execute() == ["a1", "a2", "g1"]
    assert Document.objects.count() == 3


def test_a_statement_that_concerns_no_organization_does_not_ask_for_one(acme: Any, globex: Any) -> None:
    """A member of two organizations names none: whose session it is, is found nevertheless."""
    from dovetail_tenancy import services

    services.add_member(organization=globex, user=acme.owner, role="member")
    client = Client()
    client.force_login(acme.owner)
    assert client.get("/admin/").status_code == 302


def test_a_driver_that_knows_no_such_cursor_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    from django.db.backends.postgresql import psycopg_any

    from dovetail_tenancy.backends.postgresql import base

    monkeypatch.setattr(psycopg_any, "is_psycopg3", False)
    with pytest.raises(ImproperlyConfigured, match="needs psycopg 3"):
        importlib.reload(base)
    monkeypatch.undo()
    assert psycopg.__version__


def test_the_organization_is_a_condition_of_the_index_without_any_filter(acme: Any) -> None:
    """Twenty thousand rows of two hundred organizations: none of the others' is read."""
    for _ in range(200):
        make_organization()
    organization = get_organization_model()._meta
    with connection.schema_editor() as editor:
        editor.execute(
            "INSERT INTO documents_folder (id, name, organization_id) "
            f"SELECT gen_random_uuid(), m, o.{organization.pk.column} "
            f"FROM {organization.db_table} o, generate_series(1, 100) m",
            None,
        )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE documents_folder")
    with tenant(acme), connection.cursor() as cursor:
        cursor.execute("EXPLAIN SELECT * FROM documents_folder")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Index Cond: (organization_id = $0)" in plan or "Index Cond: (organization_id = (InitPlan 1)" in plan, plan
    assert "Seq Scan" not in plan
