"""The synchronization of PostgreSQL server sessions with the active scope."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, Literal, TypeAlias

import psycopg
from django.core.exceptions import ImproperlyConfigured
from psycopg import sql
from psycopg.pq import TransactionStatus

from dovetail_core.sql import SelectFrom
from dovetail_tenancy.isolation.scope import Scope, current_database_scope, get_organization_model
from dovetail_tenancy.row_security import policies

Connection: TypeAlias = "psycopg.Connection[Any]"

MODES = ("session", "transaction")
OPTION = "tenancy_mode"

# Possessive, because backtracking over a statement with many leading comments would take exponential time.
_BEFORE = r"(?>\s|\(|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*+"
# Statements that read or write rows. All others (DDL, VACUUM, SET, …) need the privileges of the session's own role and
# may refuse to run in a transaction. An unrecognized statement sees too few rows, never too many.
_ROWS = re.compile(
    _BEFORE + r"(?:select|insert|update|delete|merge|with|values|table|copy|call|do|explain|declare|execute|lock)\b",
    re.IGNORECASE | re.DOTALL,
)
_SAVEPOINT = re.compile(_BEFORE + r"(?:savepoint|release)\b", re.IGNORECASE | re.DOTALL)
# The default search path contains the role's schema.
_ROLE = re.compile(
    _BEFORE + r"(?:discard\b|(?:re)?set\b.*\b(?:role|schema|authorization)\b)", re.IGNORECASE | re.DOTALL
)

# By server, database, roles and tables, whether a query of these tables shows the same rows for every organization.
_independent: dict[tuple[object, ...], bool] = {}

# The rows that a server session shows, apart from one organization's.
_NOTHING, _EVERYTHING = Scope(), Scope(reason="bypass")


class Session:
    """Applies the active scope to the server session of one connection before each statement.

    It sends the setting only if it differs from the last one: one round trip for any number of statements of one
    organization. In a transaction the setting is local to it. A statement in autocommit gets a transaction of its own
    in ``transaction`` mode (for poolers that give each transaction another server session), and for the bypass, which
    is a role that is only set within transactions.

    The queries that authenticate a request name their tables (``SelectFrom``). If no table has row security, the
    setting cannot change the result, and is not sent: that of the previous request stays until the next statement.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        mode = options.get(OPTION, "session")
        if mode not in MODES:
            raise ImproperlyConfigured(
                f"DATABASES[…]['OPTIONS']['{OPTION}'] is {mode!r}. It must be 'session' or 'transaction'."
            )
        self.mode: Literal["session", "transaction"] = mode
        self.own_role = options.get("assume_role")
        #: What the session shows now; in a transaction, until it ends.
        self.visibility: Scope | None = None
        #: What it shows after the transaction, which reverts the local setting.
        self.visibility_of_session: Scope | None = None
        self._must_switch: bool | None = None

    def forget(self) -> None:
        """Make the next statement send the setting in any case, and query the bypass role again."""
        self.forget_visibility()
        self._must_switch = None

    def forget_visibility(self) -> None:
        self.visibility = self.visibility_of_session = None

    def end_transaction(self) -> None:
        self.visibility = self.visibility_of_session

    @contextmanager
    def statement(self, connection: Connection, query: object) -> Iterator[None]:
        if connection.pgconn.transaction_status == TransactionStatus.IDLE:
            # The driver may have ended a transaction without Django, with its own commit().
            self.end_transaction()
        if isinstance(query, SelectFrom) and self._is_independent(connection, query):
            yield
            return
        text = _text(query, connection).lower()
        reads_rows = _ROWS.match(text) is not None
        any_setting = "set_config(%s" in text
        try:
            with self._around(connection, reads_rows):
                yield
        finally:
            if any_setting or policies.SETTING in text or not (reads_rows or _SAVEPOINT.match(text)):
                # ROLLBACK TO SAVEPOINT reverts the setting; SET ROLE, RESET ALL and DISCARD ALL overwrite it.
                self.forget_visibility()
            if any_setting or "search_path" in text or _ROLE.match(text):
                # An attribute of the connection, which a pool may hand to another Session.
                connection.search_path_changed = True  # type: ignore[attr-defined]  # of our subclass

    def _around(self, connection: Connection, reads_rows: bool) -> AbstractContextManager[None]:
        status = connection.pgconn.transaction_status
        if status == TransactionStatus.INERROR:
            # The server accepts only a rollback.
            return nullcontext()
        visibility = self._required(connection, reads_rows)
        if not connection.autocommit or status != TransactionStatus.IDLE:
            self._apply(connection, visibility, "LOCAL")
        elif visibility.everything or (self.mode == "transaction" and reads_rows):
            # Even without an organization: another program's session mode may have left one in the pooler's session.
            return self._transaction(connection, visibility)
        elif self.mode == "session":
            self._apply(connection, visibility, "SESSION")
        return nullcontext()

    def _required(self, connection: Connection, reads_rows: bool) -> Scope:
        scope = current_database_scope()
        if scope is None:
            return _NOTHING
        if scope.everything:
            return _EVERYTHING if reads_rows and self._switches(connection) else _NOTHING
        return scope

    def _is_independent(self, connection: Connection, query: SelectFrom) -> bool:
        """Return whether the setting cannot change the result of ``query``.

        The attack: a connection that another request has used still shows that request's organization. Therefore, this
        does not trust the caller that the tables have no row security.
        """
        status = connection.pgconn.transaction_status
        if status == TransactionStatus.INERROR:
            return False
        in_transaction = not connection.autocommit or status != TransactionStatus.IDLE
        if in_transaction and (self.visibility is None or self.visibility.everything):
            # The bypass role, which is only set in transactions, may lack privileges on these tables.
            return False
        if getattr(connection, "search_path_changed", False):
            # The attack: the names mean tables without row security in the schema of an earlier request.
            return False
        server = connection.pgconn
        key = server.host, server.port, server.db, server.user, server.options, self.own_role, query.tables
        independent = _independent.get(key)
        if independent is None:
            names = [sql.Identifier(table).as_string(connection) for table in query.tables]
            row = psycopg.Cursor(connection).execute(policies.WITHOUT_ROW_SECURITY, [names]).fetchone()
            independent = _independent[key] = row is not None and row[0]
        return independent

    def _switches(self, connection: Connection) -> bool:
        if self._must_switch is None:
            row = psycopg.Cursor(connection).execute(policies.MUST_SWITCH, [policies.bypass_role()]).fetchone()
            self._must_switch = row is not None and row[0]
        return self._must_switch

    def _apply(self, connection: Connection, visibility: Scope, extent: Literal["LOCAL", "SESSION"]) -> None:
        if self.visibility != visibility:
            # Unknown until the server has answered: an exception, such as a worker's timeout, may interrupt the wait.
            self.visibility = None
            if extent == "SESSION":
                self.visibility_of_session = None
            self._send(connection, *self._settings(visibility, extent))
            self.visibility = visibility
            if extent == "SESSION":
                self.visibility_of_session = visibility

    @contextmanager
    def _transaction(self, connection: Connection, visibility: Scope) -> Iterator[None]:
        # Not psycopg's transaction(): here BEGIN and the setting are one round trip. The session's setting outside the
        # transaction does not change.
        try:
            self._send(connection, sql.SQL("BEGIN"), *self._settings(visibility, "LOCAL"))
            yield
        except BaseException:
            with suppress(psycopg.Error):
                self._send(connection, sql.SQL("ROLLBACK"))
            raise
        self._send(connection, sql.SQL("COMMIT"))

    def _settings(self, visibility: Scope, extent: Literal["LOCAL", "SESSION"]) -> Iterator[sql.Composable]:
        # SET and not set_config(): a SELECT would be the transaction's first query, after which the isolation level can
        # no longer be set.
        key = ""
        if visibility.organization_id is not None:
            primary_key: Any = get_organization_model()._meta.pk
            key = str(primary_key.get_prep_value(visibility.organization_id))
        yield sql.SQL(f"SET {extent} {policies.SETTING} TO {{}}").format(sql.Literal(key))
        if extent == "LOCAL":
            role = policies.bypass_role() if visibility.everything else self.own_role
            yield (
                sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role))
                if role
                else sql.SQL("SET LOCAL role TO DEFAULT")
            )

    def _send(self, connection: Connection, *statements: sql.Composable) -> None:
        # Without parameters psycopg sends several statements at once.
        psycopg.Cursor(connection).execute(sql.SQL("; ").join(statements))


def forget_tables() -> None:
    """Query again which tables have row security, after a migration.

    Other processes notice it when they restart. Until then, their ``SelectFrom`` queries of the table show no more rows
    than before the migration.
    """
    _independent.clear()


def _text(query: object, connection: Connection) -> str:
    if isinstance(query, sql.Composable):
        return query.as_string(connection)
    return query.decode(errors="replace") if isinstance(query, bytes) else str(query)
