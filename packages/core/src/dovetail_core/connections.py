"""Checks of the connections to the database: those that the service may open, and those that the server accepts.

They use ``DOVETAIL_PROCESSES`` and ``DOVETAIL_THREADS``. A thread keeps one connection open, or takes one from the pool
of its process. A WSGI server without a limit of threads once opened 94 of PostgreSQL's 100 connections.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from django.core import checks
from django.db import connections

from dovetail_core.conf import conf

#: Without superusers, whose connections PostgreSQL reserves. A limit of -1 is none.
_POSTGRESQL: Final = """
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
  - coalesce(current_setting('reserved_connections', true)::int, 0), rolconnlimit, datconnlimit
FROM pg_roles, pg_database WHERE rolname = current_user AND datname = current_database()
"""
_LIMITS: Final = {"postgresql": _POSTGRESQL, "mysql": "SELECT @@max_connections"}


def check_pool(**kwargs: Any) -> Iterator[checks.CheckMessage]:
    """Warn of a pool that is smaller than the threads of its process."""
    for alias in connections:
        size = _pool_size(connections[alias].settings_dict)
        if size is not None and conf.THREADS is not None and size < conf.THREADS:
            yield checks.Warning(
                f"The pool of database {alias!r} has {size} connections for the {conf.THREADS} threads of a process "
                "(DOVETAIL_THREADS), so requests wait for each other.",
                hint=f"Set DATABASES[{alias!r}]['OPTIONS']['pool']['max_size'] to the number of threads, or use fewer.",
                id="dovetail_core.W003",
            )


def check_connections(*, databases: Sequence[str] | None = None, **kwargs: Any) -> Iterator[checks.CheckMessage]:
    """Warn if the processes may open more connections than the server accepts (``check --database default``)."""
    for alias in databases or ():
        connection = connections[alias]
        size = _pool_size(connection.settings_dict) or conf.THREADS
        if conf.PROCESSES is None or size is None or connection.vendor not in _LIMITS:
            continue
        with connection.cursor() as cursor:
            cursor.execute(_LIMITS[connection.vendor])
            accepted = min(limit for limit in cursor.fetchone() if limit >= 0)
        if conf.PROCESSES * size > accepted:
            yield checks.Warning(
                f"{conf.PROCESSES} processes (DOVETAIL_PROCESSES) with {size} connections each may open "
                f"{conf.PROCESSES * size} connections to database {alias!r}, which accepts {accepted}.",
                hint="Start fewer processes or threads, raise max_connections, or put a pooler in front of the "
                "database and silence this check. Workers and commands need connections too.",
                id="dovetail_core.W004",
            )


def _pool_size(database: Mapping[str, Any]) -> int | None:
    """Return the size of the pool of each process, or None without a pool. psycopg's default is 4."""
    pool = database.get("OPTIONS", {}).get("pool")
    if not pool:
        return None
    options = pool if isinstance(pool, Mapping) else {}
    return int(options.get("max_size") or options.get("min_size") or 4)
