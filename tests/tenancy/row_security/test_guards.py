"""Every guard is necessary: without it, a test of this directory fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, connection, models, transaction
from django.db.backends.postgresql import base as django_postgresql
from django.db.models.sql import Query

from dovetail_tenancy import tenant, unscoped
from dovetail_tenancy.backends.postgresql import base
from dovetail_tenancy.backends.postgresql.base import DatabaseWrapper, SynchronizedCursor
from dovetail_tenancy.isolation import fields, querysets, scope
from dovetail_tenancy.isolation.scope import active_scope, current_scope
from dovetail_tenancy.row_security import policies, session
from dovetail_tenancy.row_security.session import Session
from tests.tenancy.row_security import (
    statements,
    test_connections,
    test_matrix,
    test_operation,
)

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

Take = Callable[[pytest.MonkeyPatch], None]
Proof = Callable[["World"], None]


class World:
    """The fixtures of the tests that the proofs call."""

    def __init__(self, acme: Any, globex: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.acme, self.globex, self.settings, self.monkeypatch = acme, globex, settings, monkeypatch

    @contextmanager
    def mode(self, mode: str) -> Iterator[None]:
        with self.monkeypatch.context() as patch:
            patch.setattr(connection.row_security, "mode", mode)
            connection.close()
            yield


def after_the_end_of_a_transaction(*, rolled_back: bool) -> Proof:
    """The driver begins the next transaction without a cursor."""

    def proof(world: World) -> None:
        connection.ensure_connection()
        with tenant(world.acme):
            with transaction.atomic():
                assert statements.execute() == ["a1", "a2"]
                transaction.set_rollback(rolled_back)
            with connection.connection.transaction():
                assert statements.execute() == ["a1", "a2"]

    return proof


def after_the_end_by_the_driver(world: World) -> None:
    test_connections.test_commit_of_the_driver_reverts_the_setting(world.acme, world.globex)


def after_a_block_of_the_driver(world: World) -> None:
    test_connections.test_savepoint_of_the_driver_reverts_the_setting(world.acme, world.globex)


def after_returning_to_the_pool(world: World) -> None:
    test_connections.test_check_of_a_pool_does_not_write_into_another_session(world.acme, world.globex)


def after_rollback_to_savepoint(world: World) -> None:
    with transaction.atomic():
        with tenant(world.acme):
            assert statements.execute() == ["a1", "a2"]
            savepoint = connection.savepoint()
        with tenant(world.globex):
            assert statements.execute() == ["g1"]
            connection.savepoint_rollback(savepoint)
            assert statements.execute() == ["g1"]


def after_an_error(world: World) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        # The server has no savepoint before the first statement.
        cursor.execute("SELECT 1")
        savepoint = connection.savepoint()
        with pytest.raises(DatabaseError):
            cursor.execute("SELECT 1/0")
        # The server accepts nothing else now.
        with tenant(world.globex):
            connection.savepoint_rollback(savepoint)
            assert statements.execute() == ["g1"]


def after_reconnecting(world: World) -> None:
    with tenant(world.acme):
        assert statements.execute() == ["a1", "a2"]
        connection.close()
        assert statements.execute() == ["a1", "a2"]


def reading(name: str, mode: str = "session") -> Proof:
    def proof(world: World) -> None:
        read = statements.READS[name]
        with world.mode(mode):
            assert read() == []
            with tenant(world.acme):
                assert read() == ["a1", "a2"]
            with unscoped(reason="a test"):
                assert read() == ["a1", "a2", "g1"]
            assert read() == []

    return proof


def on_a_failure(world: World) -> None:
    test_matrix.test_failed_statement_leaves_no_setting(world.acme, world.globex, "session")


def by_isolation(world: World) -> None:
    test_connections.test_isolation_level_can_be_set_first(world.acme, "session")


def by_utilities(world: World) -> None:
    test_connections.test_utilities_that_refuse_transactions_run_under_unscoped(world.acme, "session")


def by_missing_role(world: World) -> None:
    test_connections.test_unscoped_without_bypass_role_keeps_its_role(world.acme, world.settings, "session")


def by_streams(world: World) -> None:
    with world.mode("transaction"):
        names = []
        with connection.chunked_cursor() as cursor:
            names.append(getattr(cursor.cursor, "name", None))
        assert names == [None]


def by_pinned_queries(world: World) -> None:
    test_matrix.test_pinned_queryset_sets_the_database_scope(world.acme, world.globex, "session", "autocommit")


def by_bulk_create(world: World) -> None:
    test_matrix.test_pinned_bulk_create_writes_to_its_organization(world.acme, world.globex, "session", "autocommit")


def by_deletion_by_key(world: World) -> None:
    test_matrix.test_pinned_delete_reaches_its_organization(
        world.acme, world.globex, "session", "autocommit", heard=True
    )


def by_deletion_of_users(world: World) -> None:
    test_matrix.test_deleting_an_unowned_row_deletes_rows_of_all_organizations(
        world.acme, world.globex, "session", "none"
    )


def by_any_key(kind: str) -> Proof:
    def proof(world: World) -> None:
        world.settings.TENANCY_ORGANIZATION_MODEL = "firms.Firm"
        test_operation.test_operation_supports_any_key_and_column(kind)

    return proof


def by_data_migrations(world: World) -> None:
    world.settings.TENANCY_ORGANIZATION_MODEL = "firms.Firm"
    test_operation.test_python_and_sql_data_migrations_see_every_row()


def by_inherited_tables(world: World) -> None:
    world.settings.TENANCY_ORGANIZATION_MODEL = "firms.Firm"
    test_operation.test_dependent_rows_follow_the_policy_of_their_parent()


def by_an_explained_role(world: World) -> None:
    world.settings.TENANCY_ORGANIZATION_MODEL = "firms.Firm"
    test_operation.test_missing_bypass_role_explains_the_statement(world.settings)


def by_a_report(world: World) -> None:
    test_connections.test_report_mode_shows_the_same_rows_as_the_orm(
        world.acme, world.globex, world.settings, "session"
    )


def by_who_asks_nothing(world: World) -> None:
    test_connections.test_unrelated_statement_does_not_resolve_the_organization(world.acme, world.globex)


def by_other_tables(world: World) -> None:
    test_connections.test_query_of_other_tables_never_shows_rows_of_the_last_request(world.acme, "documents_document")


def by_the_role_of_accounts(world: World) -> None:
    test_connections.test_query_of_plain_tables_keeps_its_role(world.acme)


def by_grants(world: World) -> None:
    """The bypass role can read tables that are created later."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM " + policies.quoted(policies.bypass_role()))
    connection.prepare_database()
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE later AS SELECT 1 AS one")
        try:
            with unscoped(reason="a test"):
                cursor.execute("SELECT one FROM later")
                assert cursor.fetchone() == (1,)
        finally:
            cursor.execute("DROP TABLE later")
            policies.prepare(connection)


_AS_IT_IS = policies._CURRENT


def by_the_plan(world: World) -> None:
    """Replace the policy by one that is created without the guard, and restore it."""
    condition = policies._condition(_folder(), "organization", connection)
    with connection.schema_editor() as editor:
        editor.execute(f"ALTER POLICY tenancy_organization ON documents_folder USING ({condition})", None)
    try:
        test_connections.test_stream_keeps_its_organization(world.acme, world.globex, "session")
        test_connections.test_policy_uses_the_index(world.acme)
    finally:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(policies, "_CURRENT", _AS_IT_IS)
            condition = policies._condition(_folder(), "organization", connection)
        with connection.schema_editor() as editor:
            editor.execute(f"ALTER POLICY tenancy_organization ON documents_folder USING ({condition})", None)


def _folder() -> type[models.Model]:
    from tests.tenancy.documents.models import Folder

    return Folder


def attribute(owner: Any, name: str, value: Any) -> Take:
    return lambda patch: patch.setattr(owner, name, value)


def method_of_django(name: str, owner: Any = DatabaseWrapper, parent: Any = django_postgresql.DatabaseWrapper) -> Take:
    """Use Django's method instead of ours."""
    return lambda patch: patch.setattr(owner, name, getattr(parent, name))


def unsynchronised(name: str) -> Take:
    """Use psycopg's method instead of ours."""

    def take(patch: pytest.MonkeyPatch) -> None:
        def plain(self: Any, *args: Any, **kwargs: Any) -> Any:
            return getattr(super(SynchronizedCursor, self), name)(*args, **kwargs)

        patch.setattr(SynchronizedCursor, name, plain)

    return take


def without_statement(*, own_transaction: bool = True, savepoints_only: bool = False) -> Take:
    def take(patch: pytest.MonkeyPatch) -> None:
        if savepoints_only:
            # Every statement counts as a savepoint, so nothing is forgotten after ROLLBACK TO.
            patch.setattr(session, "_SAVEPOINT", session.re.compile(""))
        if not own_transaction:
            patch.setattr(Session, "_transaction", lambda self, *args: nullcontext())

    return take


def policy_with(old: str, new: str) -> Take:
    return lambda patch: patch.setattr(policies, "_CURRENT", policies._CURRENT.replace(old, new))


def enabling_without(word: str) -> Take:
    def take(patch: pytest.MonkeyPatch) -> None:
        enable = policies.enable
        patch.setattr(
            policies, "enable", lambda *args: [statement for statement in enable(*args) if word not in statement]
        )

    return take


def with_set_config(patch: pytest.MonkeyPatch) -> None:
    def settings(self: Session, wanted: Any, extent: str) -> Iterator[Any]:
        yield psycopg.sql.SQL("SELECT set_config('tenancy.organization', '', true)")

    patch.setattr(Session, "_settings", settings)


def always_switching(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Session, "_switches", lambda self, driver: True)


def keeping_transaction(patch: pytest.MonkeyPatch) -> None:
    """Do not roll the transaction back if its statement fails."""

    @contextmanager
    def open_transaction(self: Session, driver: Any, wanted: Any) -> Iterator[None]:
        self._send(driver, psycopg.sql.SQL("BEGIN"), *self._settings(wanted, "LOCAL"))
        yield
        self._send(driver, psycopg.sql.SQL("COMMIT"))

    patch.setattr(Session, "_transaction", open_transaction)


def synchronising_when_broken(patch: pytest.MonkeyPatch) -> None:
    class Nothing:
        INERROR, IDLE = None, session.TransactionStatus.IDLE

    patch.setattr(session, "TransactionStatus", Nothing)


@contextmanager
def unchanged(*args: Any) -> Iterator[None]:
    yield


GUARDS: dict[str, tuple[Take, Proof]] = {
    "forgetting at commit": (method_of_django("_commit"), after_the_end_of_a_transaction(rolled_back=False)),
    "forgetting at rollback": (method_of_django("_rollback"), after_the_end_of_a_transaction(rolled_back=True)),
    "forgetting at the driver's commit": (
        attribute(Session, "end_transaction", lambda self: None),
        after_the_end_by_the_driver,
    ),
    "forgetting after the driver's block": (
        attribute(base, "with_transactions", lambda kind: kind),
        after_a_block_of_the_driver,
    ),
    "leaving the connection to the pool": (method_of_django("_close"), after_returning_to_the_pool),
    "forgetting after ROLLBACK TO": (without_statement(savepoints_only=True), after_rollback_to_savepoint),
    "forgetting at connect": (attribute(Session, "forget", lambda self: None), after_reconnecting),
    "silence in a failed transaction": (synchronising_when_broken, after_an_error),
    "execute": (unsynchronised("execute"), reading("execute")),
    "executemany": (unsynchronised("executemany"), reading("executemany")),
    "stream": (unsynchronised("stream"), reading("stream")),
    "copy": (unsynchronised("copy"), reading("copy")),
    "server-side cursors": (method_of_django("create_cursor"), reading("server_side_cursor")),
    "the driver's own cursors": (method_of_django("get_connection_params"), reading("driver_connection")),
    "a transaction for the bypass": (without_statement(own_transaction=False), reading("execute")),
    "a transaction in transaction mode": (
        without_statement(own_transaction=False),
        reading("execute", "transaction"),
    ),
    "rolling that back": (keeping_transaction, on_a_failure),
    "no cursor across transactions": (method_of_django("create_cursor"), by_streams),
    "SET, which is no query": (with_set_config, by_isolation),
    "telling rows from utilities": (attribute(session, "_ROWS", session.re.compile("")), by_utilities),
    "asking for the bypass role": (always_switching, by_missing_role),
    "looking for row security": (
        attribute(Session, "_is_independent", lambda self, driver, query: True),
        by_other_tables,
    ),
    "the session's own role": (
        attribute(Session, "_is_independent", lambda self, driver, query: True),
        by_the_role_of_accounts,
    ),
    "a queryset's own organization": (
        attribute(querysets.PinnedQuery, "get_compiler", Query.get_compiler),
        by_pinned_queries,
    ),
    "bulk_create's": (attribute(querysets.TenantQuerySet, "_bound", lambda queryset: nullcontext()), by_bulk_create),
    "delete's": (attribute(querysets.TenantQuerySet, "_bound", lambda queryset: nullcontext()), by_deletion_by_key),
    "the collector's": (attribute(fields, "override_database_scope", unchanged), by_deletion_of_users),
    "not resolving": (attribute(scope, "active_scope", current_scope), by_who_asks_nothing),
    "reporting": (attribute(session, "current_database_scope", active_scope), by_a_report),
    "a migration sees all": (attribute(base, "override_database_scope", unchanged), by_data_migrations),
    "the bypass role's grants": (
        method_of_django("prepare_database"),
        by_grants,
    ),
    "being told of a missing role": (
        attribute(policies, "prepare", lambda connection: True),
        by_an_explained_role,
    ),
    "FORCE": (enabling_without("FORCE"), by_any_key("bigint")),
    "ENABLE": (enabling_without("ENABLE"), by_any_key("bigint")),
    "the organization's policy": (enabling_without("tenancy_organization"), by_any_key("bigint")),
    "the bypass role's policy": (enabling_without("tenancy_bypass ON"), by_inherited_tables),
    "an empty setting is none": (policy_with("nullif(", "concat("), by_any_key("uuid")),
    "no length in the cast": (
        attribute(policies, "_type", lambda field, connection: field.db_type(connection)),
        by_any_key("text"),
    ),
    "the sub-select": (policy_with("(SELECT nullif", "(nullif"), by_the_plan),
}


@pytest.fixture
def world(acme: Any, globex: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(acme, globex, settings, monkeypatch)


# The errors of a failed proof. Any other error is a mistake in the removal of the guard.
FAILS = (AssertionError, DatabaseError, psycopg.Error, pytest.fail.Exception)


def _require_owner(guard: str, world: World) -> None:
    if guard in ("the collector's", "not resolving") and not hasattr(world.acme, "owner"):
        pytest.skip("this lane's organizations have no owner, who is deleted or signed in here")


@pytest.mark.parametrize("guard", GUARDS)
def test_removed_guard_fails_its_proof(guard: str, world: World) -> None:
    _require_owner(guard, world)
    take, proof = GUARDS[guard]
    with pytest.MonkeyPatch.context() as patch:
        take(patch)
        connection.close()
        with pytest.raises(FAILS):
            proof(world)
    connection.close()


@pytest.mark.parametrize("guard", GUARDS)
def test_proof_passes_with_the_guard(guard: str, world: World) -> None:
    _require_owner(guard, world)
    GUARDS[guard][1](world)
