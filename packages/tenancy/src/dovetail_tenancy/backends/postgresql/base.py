"""Django's PostgreSQL backend with row-level security: ``ENGINE = "dovetail_tenancy.backends.postgresql"``."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cache
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.postgresql import base, schema
from django.db.backends.postgresql.psycopg_any import is_psycopg3

from dovetail_tenancy.isolation.scope import Scope, override_database_scope

if not is_psycopg3:
    raise ImproperlyConfigured("dovetail_tenancy.backends.postgresql requires psycopg 3: pip install 'psycopg[binary]'")

import psycopg
from psycopg.pq import ConnStatus, TransactionStatus

from dovetail_tenancy.row_security import policies
from dovetail_tenancy.row_security.session import OPTION, Session, forget_tables


class SynchronizedCursor:
    """A mixin of psycopg's cursors that applies the active scope to the server session before each statement."""

    # The class of an existing cursor can only be replaced by one with the same memory layout.
    __slots__ = ()
    connection: Any

    def _statement(self, query: object) -> AbstractContextManager[None]:
        # None while a connection pool configures a new connection.
        session: Session | None = getattr(self.connection, "row_security", None)
        return session.statement(self.connection, query) if session else nullcontext()

    def execute(self, query: object, *args: Any, **kwargs: Any) -> Any:
        with self._statement(query):
            return super().execute(query, *args, **kwargs)  # type: ignore[misc]  # psycopg's

    def executemany(self, query: object, *args: Any, **kwargs: Any) -> Any:
        with self._statement(query):
            return super().executemany(query, *args, **kwargs)  # type: ignore[misc]  # psycopg's

    def stream(self, query: object, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with self._statement(query):
            yield from super().stream(query, *args, **kwargs)  # type: ignore[misc]  # psycopg's

    @contextmanager
    def copy(self, statement: object, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with (
            self._statement(statement),
            super().copy(statement, *args, **kwargs) as copy,  # type: ignore[misc]  # psycopg's
        ):
            yield copy


@cache
def synchronized(cursor_class: type) -> type:
    if issubclass(cursor_class, SynchronizedCursor):
        return cursor_class
    return type(cursor_class.__name__, (SynchronizedCursor, cursor_class), {"__slots__": ()})


@cache
def with_transactions(connection_class: Any) -> type:
    """Return a subclass whose own transactions forget the setting: their statements do not pass through a cursor."""
    if hasattr(connection_class, "search_path_changed"):  # of a connection from a pool
        return connection_class  # type: ignore[no-any-return]

    # Not a mixin: the class of an existing connection can only be replaced by one that has no other base.
    class Connection(connection_class):  # type: ignore[misc]  # psycopg's, or a subclass of the project
        __slots__ = ()
        search_path_changed = False

        @contextmanager
        def transaction(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
            try:
                with super().transaction(*args, **kwargs) as block:
                    yield block
            finally:
                # ROLLBACK TO SAVEPOINT reverts the setting.
                if self.row_security:
                    self.row_security.forget_visibility()

    return Connection


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    """A schema editor that sees every row, because data migrations process the rows of all organizations."""

    def __enter__(self) -> Any:
        with ExitStack() as scope:
            scope.enter_context(override_database_scope(Scope(reason="migration")))
            editor = super().__enter__()
            self._scope = scope.pop_all()
        return editor

    def __exit__(self, *exception: object) -> None:
        try:
            with self._scope:
                super().__exit__(*exception)  # type: ignore[arg-type]
        finally:
            forget_tables()


#: The seconds after its last use in which a connection needs no query to be checked. Load balancers and firewalls
#: forget a silent connection after a minute or more. After half a second, many threads that share the requests of a
#: busy server would send the query.
RECENTLY = 5


class DatabaseWrapper(base.DatabaseWrapper):
    SchemaEditorClass = DatabaseSchemaEditor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.row_security = Session(self.settings_dict["OPTIONS"])
        #: The savepoints before the first statement of the transaction, which the server does not have.
        self._initial_savepoints: set[str] = set()
        #: When a cursor was last opened, by the monotonic clock.
        self._used_at = 0.0

    def get_connection_params(self) -> dict[str, Any]:
        params: dict[str, Any] = super().get_connection_params()
        params.pop(OPTION, None)
        # The driver's cursors and not Django's execute wrappers, which COPY, callproc and stream bypass.
        params["cursor_factory"] = synchronized(params["cursor_factory"])
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        # A pooled connection may still show another thread's organization.
        self.row_security.forget()
        self._initial_savepoints.clear()
        connection.row_security = self.row_security
        connection.__class__ = with_transactions(connection.__class__)
        return connection

    def _close(self) -> Any:
        if self.connection is not None:
            # A pool's ``check`` executes in the thread that takes the connection next, which has another Session.
            self.connection.row_security = None
        return super()._close()  # type: ignore[misc]  # Django's own, not in the stubs

    def _configure_role(self, connection: Any) -> Any:
        changed = super()._configure_role(connection)  # type: ignore[misc]  # Django's own, not in the stubs
        # The role of the settings, with which each connection starts.
        connection.search_path_changed = False
        return changed

    def create_cursor(self, name: str | None = None) -> Any:
        self._used_at = time.monotonic()
        if name and self.row_security.mode == "transaction" and self.connection.autocommit:
            # A server-side cursor outlives its transaction, and with it the pooler's server session. In the session
            # that receives the next FETCH, another client may have a cursor of the same name.
            name = None
        cursor: Any = super().create_cursor(name)
        kind: Any = type(cursor)
        cursor.__class__ = synchronized(kind)
        return cursor

    def prepare_database(self) -> None:
        super().prepare_database()
        policies.prepare(self)
        self.row_security.forget()
        forget_tables()

    def is_usable(self) -> bool:
        """Return whether the server still serves the connection, as ``CONN_HEALTH_CHECKS`` asks before each request.

        The server sends nothing to a connection in which nothing happens, except its farewell and the end of the
        stream, after which the socket is readable. Otherwise a query would cost each request a round trip.
        """
        # A server or a firewall that vanishes sends no farewell, so only a query finds that out, after a pause.
        is_recent = time.monotonic() - self._used_at < RECENTLY
        return self.connection is not None and ((is_recent and self._is_silent()) or self._answers())

    def _answers(self) -> bool:
        try:
            # A cursor of this connection would first remove the organization of the previous request, although this
            # query reads no table, and the next request would have to send it again.
            psycopg.Cursor(self.connection).execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def _is_silent(self) -> bool:
        if not hasattr(select, "poll"):  # Windows has no poll()
            return False
        server = self.connection.pgconn
        if server.status != ConnStatus.OK or server.transaction_status != TransactionStatus.IDLE:
            return False
        poll = select.poll()
        poll.register(server.socket, select.POLLIN)
        return not poll.poll(0)

    def _commit(self) -> None:
        self._end_transaction()
        super()._commit()  # type: ignore[misc]  # Django's own, not in the stubs

    def _rollback(self) -> None:
        self._end_transaction()
        super()._rollback()  # type: ignore[misc]  # Django's own, not in the stubs

    def _end_transaction(self) -> None:
        self.row_security.end_transaction()
        self._initial_savepoints.clear()

    # A service in a transaction around it, of ATOMIC_REQUESTS or of an idempotency key, is usually the first thing that
    # happens there. Its savepoint is the beginning of the transaction, and need not cost two round trips.

    def _savepoint(self, sid: str) -> None:
        if self.connection.pgconn.transaction_status == TransactionStatus.IDLE:
            self._initial_savepoints.add(sid)
        else:
            super()._savepoint(sid)  # type: ignore[misc]  # Django's own, not in the stubs

    def _savepoint_commit(self, sid: str) -> None:
        if sid not in self._initial_savepoints:
            super()._savepoint_commit(sid)  # type: ignore[misc]  # Django's own, not in the stubs

    def _savepoint_rollback(self, sid: str) -> None:
        if sid not in self._initial_savepoints:
            super()._savepoint_rollback(sid)  # type: ignore[misc]  # Django's own, not in the stubs
            return
        self.row_security.end_transaction()
        with self.wrap_database_errors:
            # The next statement begins the transaction anew.
            self.connection.rollback()
