"""The backend together with other uses of connections: transactions, threads, pools, roles."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, connections, transaction
from django.test import Client
from psycopg import sql

from dovetail_core.sql import CompiledQuery, SelectFrom
from dovetail_tenancy import get_organization_model, tenant, unscoped
from dovetail_tenancy.backends.postgresql.base import DatabaseWrapper
from dovetail_tenancy.row_security import session
from dovetail_tenancy.row_security.policies import SETTING, bypass_role
from dovetail_tenancy.row_security.session import Session
from tests.asynchronous import run
from tests.roles import administrator
from tests.tenancy.documents.factories import make_organization
from tests.tenancy.documents.models import Document
from tests.tenancy.row_security import statements

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


@contextmanager
def round_trips(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Record the statements that the backend adds."""
    sent: list[Any] = []
    send = Session._send

    def record(self: Session, driver: Any, *parts: sql.Composable) -> None:
        sent.append([part.as_string(driver) for part in parts])
        send(self, driver, *parts)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "_send", record)
        yield sent


def test_hundred_statements_need_one_extra_round_trip(acme: Any, globex: Any, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_transaction_mode_sends_nothing_outside_transactions(
    acme: Any, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    connection.ensure_connection()
    with round_trips(monkeypatch) as sent:
        with tenant(acme):
            statements.execute()
        statements.execute()
    session = any("SESSION" in part for parts in sent for part in parts)
    assert session == (mode == "session")


def accounts() -> CompiledQuery:
    """Return a query like those that authenticate a request."""
    model = get_user_model()
    return CompiledQuery(model._base_manager.order_by(), using="default", reads=[model])


def read_only(table: str, text: str, wrapper: Any = connection) -> list[Any]:
    """Execute a query that claims to read only ``table``."""
    query = SelectFrom(text)
    query.tables = (table,)
    with wrapper.cursor() as cursor:
        cursor.execute(query)
        return [value for (value,) in cursor.fetchall()]


def test_requests_of_one_organization_send_no_setting(
    acme: Any, globex: Any, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    query = accounts()
    query.rows()
    requests = [(acme, ["a1", "a2"])] * 3 + [(globex, ["g1"]), (acme, ["a1", "a2"])]
    with round_trips(monkeypatch) as sent:
        for organization, titles in requests:
            assert query.rows()
            with tenant(organization):
                assert statements.execute() == titles
    # In transaction mode, BEGIN with the setting, and COMMIT.
    assert len(sent) == (3 if mode == "session" else 2 * len(requests))


def test_setting_of_the_session_survives_transactions(acme: Any, globex: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    connection.close()
    connection.ensure_connection()
    with round_trips(monkeypatch) as sent, tenant(acme):
        for end in (transaction.commit, transaction.rollback):
            assert statements.execute() == ["a1", "a2"]
            transaction.set_autocommit(False)
            with tenant(globex):
                assert statements.execute() == ["g1"]
            end()
            transaction.set_autocommit(True)
        assert statements.execute() == ["a1", "a2"]
    assert [" ".join(parts).split()[1] for parts in sent] == ["SESSION", "LOCAL", "LOCAL"]


@pytest.mark.parametrize("table", ["documents_document", "titles", "missing"])
def test_query_of_other_tables_never_shows_rows_of_the_last_request(acme: Any, table: str) -> None:
    """The attack: a connection that another request has used still shows its organization."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE VIEW titles AS SELECT title FROM documents_document")
    try:
        with tenant(acme):
            assert statements.execute() == ["a1", "a2"]
        assert read_only(table, f"SELECT title FROM {'titles' if table == 'titles' else 'documents_document'}") == []
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP VIEW titles")


def test_query_of_plain_tables_keeps_its_role(acme: Any) -> None:
    table = get_user_model()._meta.db_table
    with transaction.atomic():
        with unscoped(reason="a test"):
            assert statements.shown()[1] == bypass_role()
        assert set(read_only(table, f"SELECT current_user FROM {table}")) == {connection.settings_dict["USER"]}


@pytest.fixture
def plain_schema(db: None) -> Iterator[None]:
    """Create a schema with a table of the same name, which has no row security."""
    with connection.schema_editor() as editor:
        editor.execute("CREATE SCHEMA plainer")
        editor.execute("CREATE TABLE plainer.documents_document AS SELECT 'x'::text AS title")
    yield
    connection.close()
    with connection.schema_editor() as editor:
        editor.execute("DROP SCHEMA plainer CASCADE")


def test_alias_with_another_search_path_is_not_trusted(acme: Any, plain_schema: None) -> None:
    plain = DatabaseWrapper({**connection.settings_dict, "OPTIONS": {"options": "-c search_path=plainer"}}, "plainer")
    try:
        assert read_only("documents_document", statements.TITLES, plain) == ["x"]
        with tenant(acme):
            assert statements.execute() == ["a1", "a2"]
        assert read_only("documents_document", statements.TITLES) == []
    finally:
        plain.close()


@pytest.mark.parametrize(
    "change", ["SET search_path = {}", "SET SCHEMA '{}'", "SELECT set_config('search_path', '{}', false)"]
)
def test_changed_search_path_is_not_trusted(acme: Any, plain_schema: None, change: str) -> None:
    """The attack: the first request reads a plain table of another schema, as with django-tenants."""
    with connection.cursor() as cursor:
        cursor.execute(change.format("plainer"))
        assert read_only("documents_document", statements.TITLES) == ["x"]
        cursor.execute(change.format("public"))
    with tenant(acme):
        assert statements.execute() == ["a1", "a2"]
    assert read_only("documents_document", statements.TITLES) == []


def test_migration_in_another_thread_does_not_break_a_query(acme: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Cleared(dict[Any, bool]):
        def __setitem__(self, *item: Any) -> None:
            """Behave as if ``forget_tables()`` came directly after."""

    monkeypatch.setattr(session, "_independent", Cleared())
    assert accounts().rows()


def test_migration_that_enables_row_security_is_noticed(acme: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with connection.schema_editor() as editor:
        editor.execute("CREATE TABLE probe AS SELECT 1 AS one")
    try:
        with tenant(acme):
            statements.execute()
        assert read_only("probe", "SELECT one FROM probe") == [1]
        with connection.schema_editor() as editor:
            editor.execute("ALTER TABLE probe ENABLE ROW LEVEL SECURITY")
        with tenant(acme):
            statements.execute()
        with round_trips(monkeypatch) as sent:
            read_only("probe", "SELECT one FROM probe")
        assert len(sent) == 1
    finally:
        with connection.schema_editor() as editor:
            editor.execute("DROP TABLE probe")


def test_isolation_level_can_be_set_first(acme: Any, mode: str) -> None:
    """PostgreSQL accepts the isolation level only before the first query, and SET is not a query."""
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


def test_leading_comments_are_parsed_in_linear_time(acme: Any) -> None:
    """Backtracking would take exponential time."""
    with unscoped(reason="a test"), connection.cursor() as cursor:
        cursor.execute("/* a */ -- b\n" * 200 + "SHOW transaction_isolation")
        cursor.execute("/* a */ -- b\n" * 200 + statements.TITLES)
        assert cursor.fetchall() == [("a1",), ("a2",)]


def test_failed_schema_editor_restores_the_scope(acme: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError("out of order")

    monkeypatch.setattr("django.db.backends.base.schema.BaseDatabaseSchemaEditor.__enter__", fail)
    with pytest.raises(OSError, match="out of order"), connection.schema_editor():
        pass
    assert statements.execute() == []


def test_stream_keeps_its_organization(acme: Any, globex: Any, mode: str) -> None:
    """PostgreSQL evaluates the policy's sub-select once per statement, so later scopes do not affect a cursor."""
    with transaction.atomic(), tenant(acme):
        rows = Document.objects.order_by("title").iterator(chunk_size=1)
        first = next(rows).title
        with tenant(globex):
            assert statements.execute() == ["g1"]
            assert [first, *(document.title for document in rows)] == ["a1", "a2"]


def test_threads_and_tasks_see_their_rows(acme: Any, globex: Any, mode: str) -> None:
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
            visible = await sync_to_async(read, thread_sensitive=thread_sensitive)()
            if organization:
                found_by_orm = [
                    title async for title in Document.objects.order_by("title").values_list("title", flat=True)
                ]
                assert found_by_orm == titles[organization]
        return bool(visible == (titles[organization] if organization else ["a1", "a2", "g1"]))

    async def all_at_once() -> list[bool]:
        looks = [
            look(organization, thread_sensitive=thread_sensitive)
            for _ in range(8)
            for organization in titles
            for thread_sensitive in (True, False)
        ]
        return await asyncio.gather(*looks)

    assert run(all_at_once()) == [True] * 48


def test_plain_thread_sees_no_rows(acme: Any, mode: str) -> None:
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
    """Use psycopg's pool with one shared connection."""
    given = connection.settings_dict
    wrapper = DatabaseWrapper({**given, "OPTIONS": {"pool": {"min_size": 1, "max_size": 1}}}, "pooled")
    yield wrapper
    wrapper.close()
    wrapper.close_pool()


def test_pooled_connection_forgets_its_last_user(acme: Any, globex: Any, pooled: Any) -> None:
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
    # The wrapper's last connection showed Globex's rows.
    with tenant(globex):
        assert titles(other) == ["g1"]
    other.close()
    assert titles(pooled) == []


def test_check_of_a_pool_does_not_write_into_another_session(acme: Any, globex: Any) -> None:
    """The pool calls ``check`` in the thread that takes the connection which another thread has returned."""
    pool = {"min_size": 2, "max_size": 2, "check": lambda taken: taken.execute("SELECT 1")}
    options = {**connection.settings_dict, "OPTIONS": {"pool": pool}}
    wrapper, other = DatabaseWrapper(options, "checked"), DatabaseWrapper(options, "checked")

    def titles() -> list[str]:
        with wrapper.cursor() as cursor:
            cursor.execute(statements.TITLES)
            return [title for (title,) in cursor.fetchall()]

    try:
        wrapper.pool.open()
        wrapper.pool.wait()
        with tenant(acme):
            wrapper.ensure_connection()
            returned = wrapper.connection
            wrapper.close()
            assert titles() == ["a1", "a2"]
        with tenant(globex):
            other.ensure_connection()
            assert other.connection is returned
            assert titles() == ["g1"]
    finally:
        other.close()
        wrapper.close()
        wrapper.close_pool()


@pytest.mark.parametrize("rolled_back", [False, True])
def test_transaction_of_the_driver_reverts_the_setting(acme: Any, globex: Any, mode: str, rolled_back: bool) -> None:
    with tenant(acme):
        assert statements.execute() == ["a1", "a2"]
    with tenant(globex):
        for _ in range(2):
            with connection.connection.transaction(force_rollback=rolled_back):
                assert statements.execute() == ["g1"]
        assert statements.execute() == ["g1"]


def test_savepoint_of_the_driver_reverts_the_setting(acme: Any, globex: Any) -> None:
    with transaction.atomic():
        with tenant(acme):
            assert statements.execute() == ["a1", "a2"]
        with tenant(globex):
            with connection.connection.transaction():
                assert statements.execute() == ["g1"]
                raise psycopg.Rollback
            assert statements.execute() == ["g1"]


def test_commit_of_the_driver_reverts_the_setting(acme: Any, globex: Any) -> None:
    with tenant(acme):
        assert statements.execute() == ["a1", "a2"]
    with transaction.atomic(), tenant(globex):
        for _ in range(2):
            assert statements.execute() == ["g1"]
            connection.connection.commit()


def test_interrupted_setting_is_sent_again(acme: Any, globex: Any, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """A worker's timeout is raised after the server has executed SET."""
    send = Session._send

    def interrupt(self: Session, *arguments: Any) -> None:
        send(self, *arguments)
        raise TimeoutError

    with tenant(acme):
        assert statements.execute() == ["a1", "a2"]
        with monkeypatch.context() as patch, tenant(globex):
            patch.setattr(Session, "_send", interrupt)
            with pytest.raises(TimeoutError):
                statements.execute()
        assert statements.execute() == ["a1", "a2"]


@pytest.mark.parametrize(
    ("function", "names"),
    [("set_config('Tenancy.Organization', %s, false)", []), ("set_config(%s, %s, false)", [SETTING])],
)
def test_setting_of_a_statement_is_corrected_after_commit(
    acme: Any, globex: Any, mode: str, function: str, names: list[str]
) -> None:
    with tenant(acme):
        assert statements.execute() == ["a1", "a2"]
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SELECT {function}", [*names, str(globex.pk)])
        assert statements.execute() == ["a1", "a2"]


def test_assumed_role_is_restored(acme: Any, admin_settings: dict[str, Any], mode: str) -> None:
    login = connection.settings_dict["USER"]
    service = f"{login}_assumed"
    names = {
        "service": sql.Identifier(service),
        "login": sql.Identifier(login),
        "may": sql.Identifier(f"{bypass_role()}_may"),
    }
    with administrator(admin_settings) as server:
        for statement in ("CREATE ROLE {service}", "GRANT {login} TO {service}"):
            server.execute(sql.SQL(statement).format(**names))
    connects = {
        **connection.settings_dict,
        "USER": admin_settings["USER"],
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
        with administrator(admin_settings) as server:
            server.execute(sql.SQL("DROP ROLE {service}").format(**names))


@contextmanager
def transaction_of(wrapper: DatabaseWrapper) -> Iterator[None]:
    wrapper.set_autocommit(False)
    yield
    wrapper.commit()
    wrapper.set_autocommit(True)


def test_server_side_binding_is_synchronized(acme: Any) -> None:
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


def test_unknown_mode_lists_the_choices() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"'statement'\. It must be 'session' or 'transaction'"):
        DatabaseWrapper({**connection.settings_dict, "OPTIONS": {"tenancy_mode": "statement"}}, "odd")


def test_unscoped_without_bypass_role_keeps_its_role(acme: Any, settings: Any, mode: str) -> None:
    """A project without row security, or before its migrations, has no bypass role."""
    settings.TENANCY_BYPASS_ROLE = "nobody"
    with unscoped(reason="a test"):
        assert statements.shown()[1] == connection.settings_dict["USER"]
        assert statements.execute() == []


def test_privileged_role_does_not_switch(acme: Any, migration_role: None, mode: str) -> None:
    with unscoped(reason="a test"):
        assert statements.shown()[1] == connection.settings_dict["USER"]
        assert statements.execute() == ["a1", "a2"]


def test_report_mode_shows_the_same_rows_as_the_orm(acme: Any, globex: Any, settings: Any, mode: str) -> None:
    settings.TENANCY_ENFORCEMENT = "report"
    assert statements.execute() == ["a1", "a2", "g1"]
    assert Document.objects.count() == 3


def test_unrelated_statement_does_not_resolve_the_organization(acme: Any, globex: Any) -> None:
    """The session of a member of two organizations loads without selecting one."""
    from dovetail_tenancy import services

    services.add_member(organization=globex, user=acme.owner, role="member")
    client = Client()
    client.force_login(acme.owner)
    assert client.get("/admin/").status_code == 302


def test_psycopg2_is_refused_at_import(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    from django.db.backends.postgresql import psycopg_any

    from dovetail_tenancy.backends.postgresql import base

    monkeypatch.setattr(psycopg_any, "is_psycopg3", False)
    with pytest.raises(ImproperlyConfigured, match="requires psycopg 3"):
        importlib.reload(base)
    monkeypatch.undo()
    assert psycopg.__version__


def test_policy_uses_the_index(acme: Any) -> None:
    """Of 20 000 rows of 200 organizations, PostgreSQL reads only those of one."""
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
