from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.core.signals import request_finished
from django.db import connections

T = TypeVar("T")


def close_connections() -> None:
    """Close this thread's connections, also to SQLite in memory: Django leaves those open, and Python 3.13 says so."""
    connections.close_all()
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None:
            connection.connection.close()
            connection.connection = None


def _close_of_request(**kwargs: Any) -> None:
    """Under ASGI a request has a thread of its own, and nobody else comes to close what it opened there."""
    own = threading.current_thread() is not threading.main_thread()
    if own and not any(connection.in_atomic_block for connection in connections.all(initialized_only=True)):
        close_connections()


request_finished.connect(_close_of_request, dispatch_uid=__name__)


def run(work: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` that leaves no database connection behind in the thread where Django's synchronous code ran."""

    async def main() -> T:
        try:
            return await work
        finally:
            await sync_to_async(close_connections)()

    return asyncio.run(main())
