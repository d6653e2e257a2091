from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any


class Synchronised:
    """Mixed into psycopg's cursors: tells the server which rows the context may see, before it is sent a statement."""

    # A cursor that was made already takes a class only of the layout it has.
    __slots__ = ()
    connection: Any

    def _statement(self, query: Any) -> Any:
        # A pool configures a connection before anybody has it.
        session = getattr(self.connection, "row_security", None)
        return session.statement(self.connection, query) if session else nullcontext()

    def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        with self._statement(query):
            return super().execute(query, *args, **kwargs)  # type: ignore[misc]  # psycopg's

    def executemany(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        with self._statement(query):
            return super().executemany(query, *args, **kwargs)  # type: ignore[misc]  # psycopg's

    def stream(self, query: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with self._statement(query):
            yield from super().stream(query, *args, **kwargs)  # type: ignore[misc]  # psycopg's

    @contextmanager
    def copy(self, statement: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with (
            self._statement(statement),
            super().copy(statement, *args, **kwargs) as copy,  # type: ignore[misc]  # psycopg's
        ):
            yield copy


@cache
def synchronised(cursor: Any) -> Any:
    return (
        cursor if issubclass(cursor, Synchronised) else type(cursor.__name__, (Synchronised, cursor), {"__slots__": ()})
    )
