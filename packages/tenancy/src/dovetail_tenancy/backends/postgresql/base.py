"""``ENGINE = "dovetail_tenancy.backends.postgresql"``: Django's own, which tells the server what may be shown."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.postgresql import base, schema
from django.db.backends.postgresql.psycopg_any import is_psycopg3

from dovetail_tenancy.isolation.scope import Scope

if not is_psycopg3:
    raise ImproperlyConfigured("dovetail_tenancy.backends.postgresql needs psycopg 3: pip install 'psycopg[binary]'.")

from dovetail_tenancy.backends.postgresql.cursors import synchronised
from dovetail_tenancy.isolation.database_scope import in_database
from dovetail_tenancy.row_security import policies
from dovetail_tenancy.row_security.session import OPTION, Session


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    """Migrations see every row: what a data migration reads and writes belongs to all organizations."""

    def __enter__(self) -> Any:
        with ExitStack() as rows:
            rows.enter_context(in_database(Scope(reason="migration")))
            editor = super().__enter__()
            self._rows = rows.pop_all()
        return editor

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, traceback)
        finally:
            self._rows.close()


class DatabaseWrapper(base.DatabaseWrapper):
    SchemaEditorClass = DatabaseSchemaEditor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.row_security = Session(self.settings_dict["OPTIONS"])

    def get_connection_params(self) -> dict[str, Any]:
        params: dict[str, Any] = super().get_connection_params()
        params.pop(OPTION, None)
        # The driver's cursors and not Django's execute wrappers: COPY, callproc and stream go past those.
        params["cursor_factory"] = synchronised(params["cursor_factory"])
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        # A pool's connection has shown another thread's organization.
        self.row_security.forget()
        connection.row_security = self.row_security
        return connection

    def create_cursor(self, name: str | None = None) -> Any:
        if name and self.row_security.mode == "transaction" and self.connection.autocommit:
            # It outlives its transaction, and with that the pooler's server session: another client may have a cursor
            # of the same name in the one that the next FETCH meets.
            name = None
        cursor: Any = super().create_cursor(name)
        kind: Any = type(cursor)
        cursor.__class__ = synchronised(kind)
        return cursor

    def prepare_database(self) -> None:
        super().prepare_database()
        policies.prepare(self)
        self.row_security.forget()

    def _commit(self) -> None:
        self.row_security.shown = None
        super()._commit()  # type: ignore[misc]  # Django's own, not in the stubs

    def _rollback(self) -> None:
        self.row_security.shown = None
        super()._rollback()  # type: ignore[misc]  # Django's own, not in the stubs
