"""Django's PostgreSQL backend with row-level security: ``ENGINE = "dovetail_tenancy.backends.postgresql"``."""

from __future__ import annotations

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

from dovetail_tenancy.row_security import policies
from dovetail_tenancy.row_security.session import OPTION, Session


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


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    """A schema editor that sees every row, because data migrations process the rows of all organizations."""

    def __enter__(self) -> Any:
        with ExitStack() as scope:
            scope.enter_context(override_database_scope(Scope(reason="migration")))
            editor = super().__enter__()
            self._scope = scope.pop_all()
        return editor

    def __exit__(self, *exception: object) -> None:
        with self._scope:
            super().__exit__(*exception)  # type: ignore[arg-type]


class DatabaseWrapper(base.DatabaseWrapper):
    SchemaEditorClass = DatabaseSchemaEditor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.row_security = Session(self.settings_dict["OPTIONS"])

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
        connection.row_security = self.row_security
        return connection

    def create_cursor(self, name: str | None = None) -> Any:
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

    def _commit(self) -> None:
        self.row_security.visibility = None
        super()._commit()  # type: ignore[misc]  # Django's own, not in the stubs

    def _rollback(self) -> None:
        self.row_security.visibility = None
        super()._rollback()  # type: ignore[misc]  # Django's own, not in the stubs
