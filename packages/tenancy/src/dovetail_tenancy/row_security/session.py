"""The synchronization of PostgreSQL server sessions with the active scope."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from django.core.exceptions import ImproperlyConfigured
from psycopg import sql
from psycopg.pq import TransactionStatus

from dovetail_tenancy.isolation.database_scope import current_database_scope
from dovetail_tenancy.isolation.organization_model import get_organization_model
from dovetail_tenancy.row_security import policies

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
class Shown:
    """The rows that a server session shows: one organization's, with ``bypass`` all, else none."""

    organization_id: Any = None
    bypass: bool = False


_NOTHING, _EVERYTHING = Shown(), Shown(bypass=True)


class Session:
    """Applies the active scope to the server session of one connection before each statement.

    It sends the setting only if it differs from the last one: one round trip for any number of statements of one
    organization. In a transaction the setting is local to it. A statement in autocommit gets a transaction of its own
    in ``transaction`` mode (for poolers that give each transaction another server session), and for the bypass, which
    is a role that is only set within transactions.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        mode = options.get(OPTION, "session")
        if mode not in MODES:
            raise ImproperlyConfigured(
                f"DATABASES[…]['OPTIONS']['{OPTION}'] is {mode!r}; it takes 'session' or 'transaction'."
            )
        self.mode: Literal["session", "transaction"] = mode
        self.own_role = options.get("assume_role")
        self.shown: Shown | None = None
        self._must_switch: bool | None = None

    def forget(self) -> None:
        """Make the next statement send the setting in any case, and query the bypass role again."""
        self.shown = None
        self._must_switch = None

    @contextmanager
    def statement(self, connection: Any, query: Any) -> Iterator[None]:
        """Wrap one statement on the driver's connection."""
        text = _text(query, connection)
        reads_rows = _ROWS.match(text) is not None
        try:
            with self._around(connection, reads_rows):
                yield
        finally:
            if not reads_rows and not _SAVEPOINT.match(text):
                # ROLLBACK TO SAVEPOINT reverts the setting; SET ROLE, RESET ALL and DISCARD ALL overwrite it.
                self.shown = None

    def _around(self, connection: Any, reads_rows: bool) -> AbstractContextManager[None]:
        """Send the setting for one statement, in its transaction or in a new one."""
        status = connection.pgconn.transaction_status
        if status == TransactionStatus.INERROR:
            # The server accepts nothing but a rollback.
            return nullcontext()
        wanted = self._wanted(connection, reads_rows)
        if not connection.autocommit or status != TransactionStatus.IDLE:
            self._make(connection, wanted, "LOCAL")
        elif wanted.bypass or (self.mode == "transaction" and reads_rows):
            # Even without an organization: another program's session mode may have left one in the pooler's session.
            return self._transaction(connection, wanted)
        elif self.mode == "session":
            self._make(connection, wanted, "SESSION")
        return nullcontext()

    def _wanted(self, connection: Any, reads_rows: bool) -> Shown:
        scope = current_database_scope()
        if scope is None:
            return _NOTHING
        if scope.reason is not None:
            return _EVERYTHING if reads_rows and self._switches(connection) else _NOTHING
        if self.shown is not None and self.shown.organization_id == scope.organization_id and not self.shown.bypass:
            return self.shown
        return Shown(scope.organization_id)

    def _switches(self, connection: Any) -> bool:
        if self._must_switch is None:
            row = psycopg.Cursor(connection).execute(policies.MUST_SWITCH, [policies.bypass_role()]).fetchone()
            self._must_switch = row is not None and row[0]
        return self._must_switch

    def _make(self, connection: Any, wanted: Shown, extent: Literal["LOCAL", "SESSION"]) -> None:
        if self.shown is not wanted and self.shown != wanted:
            self._send(connection, *self._settings(wanted, extent))
            self.shown = wanted

    @contextmanager
    def _transaction(self, connection: Any, wanted: Shown) -> Iterator[None]:
        # Not psycopg's transaction(): here BEGIN and the setting are one round trip. The session's setting outside the
        # transaction does not change.
        try:
            self._send(connection, sql.SQL("BEGIN"), *self._settings(wanted, "LOCAL"))
            yield
        except BaseException:
            with suppress(psycopg.Error):
                self._send(connection, sql.SQL("ROLLBACK"))
            raise
        self._send(connection, sql.SQL("COMMIT"))

    def _settings(self, wanted: Shown, extent: Literal["LOCAL", "SESSION"]) -> Iterator[sql.Composable]:
        # SET and not set_config(): a SELECT would be the transaction's first query, after which the isolation level can
        # no longer be set.
        key = "" if wanted.organization_id is None else _key(wanted.organization_id)
        yield sql.SQL(f"SET {extent} {policies.SETTING} TO {{}}").format(sql.Literal(key))
        if extent == "LOCAL":
            role = policies.bypass_role() if wanted.bypass else self.own_role
            yield (
                sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role))
                if role
                else sql.SQL("SET LOCAL role TO DEFAULT")
            )

    def _send(self, connection: Any, *statements: sql.Composable) -> None:
        # Without parameters psycopg sends several statements at once.
        psycopg.Cursor(connection).execute(sql.SQL("; ").join(statements))


def _key(organization_id: Any) -> str:
    key: Any = get_organization_model()._meta.pk
    return str(key.get_prep_value(organization_id))


def _text(query: Any, connection: Any) -> str:
    if isinstance(query, sql.Composable):
        return query.as_string(connection)
    return query.decode(errors="replace") if isinstance(query, bytes) else str(query)
