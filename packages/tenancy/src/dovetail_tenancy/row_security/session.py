"""The synchronization of PostgreSQL server sessions with the active scope."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import psycopg
from django.core.exceptions import ImproperlyConfigured
from psycopg import sql
from psycopg.pq import TransactionStatus

from dovetail_tenancy.isolation.organization_model import get_organization_model
from dovetail_tenancy.isolation.scope import current_database_scope
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


@dataclass(frozen=True, slots=True)
class Visibility:
    """The rows that a server session shows: one organization's, with ``bypass`` all, else none."""

    organization_id: Any = None
    bypass: bool = False


_NOTHING, _EVERYTHING = Visibility(), Visibility(bypass=True)


class Session:
    """Applies the active scope to the server session of one connection before each statement.

    It sends the setting only if it differs from the last one: one round trip for any number of statements of one
    organization. In a transaction the setting is local to it. A statement in autocommit gets a transaction of its own
    in ``transaction`` mode (for poolers that give each transaction another server session), and for the bypass, which
    is a role that is only set within transactions.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        mode = options.get(OPTION, "session")
        if mode not in MODES:
            raise ImproperlyConfigured(
                f"DATABASES[…]['OPTIONS']['{OPTION}'] is {mode!r}. It must be 'session' or 'transaction'."
            )
        self.mode: Literal["session", "transaction"] = mode
        self.own_role = options.get("assume_role")
        self.visibility: Visibility | None = None
        self._must_switch: bool | None = None

    def forget(self) -> None:
        """Make the next statement send the setting in any case, and query the bypass role again."""
        self.visibility = None
        self._must_switch = None

    @contextmanager
    def statement(self, connection: Connection, query: object) -> Iterator[None]:
        text = _text(query, connection)
        reads_rows = _ROWS.match(text) is not None
        try:
            with self._around(connection, reads_rows):
                yield
        finally:
            if not reads_rows and not _SAVEPOINT.match(text):
                # ROLLBACK TO SAVEPOINT reverts the setting; SET ROLE, RESET ALL and DISCARD ALL overwrite it.
                self.visibility = None

    def _around(self, connection: Connection, reads_rows: bool) -> AbstractContextManager[None]:
        status = connection.pgconn.transaction_status
        if status == TransactionStatus.INERROR:
            # The server accepts only a rollback.
            return nullcontext()
        visibility = self._required(connection, reads_rows)
        if not connection.autocommit or status != TransactionStatus.IDLE:
            self._apply(connection, visibility, "LOCAL")
        elif visibility.bypass or (self.mode == "transaction" and reads_rows):
            # Even without an organization: another program's session mode may have left one in the pooler's session.
            return self._transaction(connection, visibility)
        elif self.mode == "session":
            self._apply(connection, visibility, "SESSION")
        return nullcontext()

    def _required(self, connection: Connection, reads_rows: bool) -> Visibility:
        scope = current_database_scope()
        if scope is None:
            return _NOTHING
        if scope.reason is not None:
            return _EVERYTHING if reads_rows and self._switches(connection) else _NOTHING
        return Visibility(scope.organization_id)

    def _switches(self, connection: Connection) -> bool:
        if self._must_switch is None:
            row = psycopg.Cursor(connection).execute(policies.MUST_SWITCH, [policies.bypass_role()]).fetchone()
            self._must_switch = row is not None and row[0]
        return self._must_switch

    def _apply(self, connection: Connection, visibility: Visibility, extent: Literal["LOCAL", "SESSION"]) -> None:
        if self.visibility != visibility:
            self._send(connection, *self._settings(visibility, extent))
            self.visibility = visibility

    @contextmanager
    def _transaction(self, connection: Connection, visibility: Visibility) -> Iterator[None]:
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

    def _settings(self, visibility: Visibility, extent: Literal["LOCAL", "SESSION"]) -> Iterator[sql.Composable]:
        # SET and not set_config(): a SELECT would be the transaction's first query, after which the isolation level can
        # no longer be set.
        key = ""
        if visibility.organization_id is not None:
            primary_key: Any = get_organization_model()._meta.pk
            key = str(primary_key.get_prep_value(visibility.organization_id))
        yield sql.SQL(f"SET {extent} {policies.SETTING} TO {{}}").format(sql.Literal(key))
        if extent == "LOCAL":
            role = policies.bypass_role() if visibility.bypass else self.own_role
            yield (
                sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role))
                if role
                else sql.SQL("SET LOCAL role TO DEFAULT")
            )

    def _send(self, connection: Connection, *statements: sql.Composable) -> None:
        # Without parameters psycopg sends several statements at once.
        psycopg.Cursor(connection).execute(sql.SQL("; ").join(statements))


def _text(query: object, connection: Connection) -> str:
    if isinstance(query, sql.Composable):
        return query.as_string(connection)
    return query.decode(errors="replace") if isinstance(query, bytes) else str(query)
