"""Async tests, and threads of tests, that leave no connection to SQLite in memory: Python 3.13 warns of those."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.core.signals import request_finished
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.sqlite3.base import DatabaseWrapper

T = TypeVar("T")
_django_close = DatabaseWrapper.close


def _close(self: DatabaseWrapper) -> None:
    """Django leaves databases in memory open. The main thread's connection keeps them, so other threads can close."""
    _django_close(self)
    own = self._thread_ident == threading.get_ident() != threading.main_thread().ident  # type: ignore[attr-defined]
    if own and self.is_in_memory_db():
        BaseDatabaseWrapper.close(self)


DatabaseWrapper.close = _close  # type: ignore[method-assign]


def _close_of_request(**kwargs: Any) -> None:
    """Under ASGI a request has a thread of its own, and nobody else comes to close what it opened there."""
    own = threading.current_thread() is not threading.main_thread()
    if own and not any(connection.in_atomic_block for connection in connections.all(initialized_only=True)):
        connections.close_all()


request_finished.connect(_close_of_request, dispatch_uid=__name__)


def run(work: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` that leaves no database connection behind in the thread where Django's synchronous code ran."""

    async def main() -> T:
        try:
            return await work
        finally:
            await sync_to_async(connections.close_all)()

    return asyncio.run(main())
