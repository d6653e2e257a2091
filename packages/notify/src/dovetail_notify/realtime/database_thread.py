"""The one thread in which all sockets of a process use the database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextvars import Context
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections, connections

_RENEW_SECONDS = 60
_renewed_at = 0.0


async def in_database_thread(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    def call() -> Any:
        _renew_connections()
        return function(*arguments, **keywords)

    # In an empty context: in a request's context, asgiref would use the request's thread, and a stream would hold a
    # database connection as long as it lives.
    return await asyncio.get_running_loop().create_task(_run(call), context=Context())


async def _run(call: Callable[[], Any]) -> Any:
    return await sync_to_async(call)()


def _renew_connections() -> None:
    """Close old connections as Django does before each request, but at most once a minute or after an error.

    With ``CONN_MAX_AGE = 0``, every call would otherwise open a new connection.
    """
    global _renewed_at
    now = time.monotonic()
    broken = any(connection.errors_occurred for connection in connections.all(initialized_only=True))
    if now - _renewed_at > _RENEW_SECONDS or broken:
        _renewed_at = now
        close_old_connections()
