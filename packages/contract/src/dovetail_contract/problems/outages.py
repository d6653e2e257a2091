"""Exceptions that mean that a service such as the database is unavailable, and not that the code is wrong."""

from __future__ import annotations

from django.db import InterfaceError, OperationalError

#: The seconds in ``Retry-After``.
RETRY_AFTER = 5

# PostgreSQL: connection lost or refused, server shutting down or starting, out of connections, deadlock, conflict of
# serializable transactions, cancelled by a timeout of the server. A wrong column is 42xxx, a defect of the code.
_POSTGRES = ("08", "57P", "53", "40", "57014")
# MariaDB and MySQL: too many connections, cannot connect, gone away, lost, lock wait timeout, deadlock.
_MYSQL = {1040, 1205, 1213, 2002, 2003, 2006, 2013}
_SQLITE = ("database is locked", "database table is locked", "unable to open database file", "disk i/o error")


def is_outage(error: BaseException) -> bool:
    """Whether the same request can succeed when the database (or Redis) is available again."""
    if isinstance(error, InterfaceError | OperationalError):
        return _is_database_outage(error)
    # By name: the library is optional.
    names = {f"{cls.__module__.partition('.')[0]}.{cls.__name__}" for cls in type(error).__mro__}
    return bool(names & {"redis.ConnectionError", "redis.TimeoutError"})


def _is_database_outage(error: InterfaceError | OperationalError) -> bool:
    cause = error.__cause__ or error
    module = type(cause).__module__
    if module.startswith("psycopg"):
        state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
        return state is None or str(state).startswith(_POSTGRES)
    if module.startswith("sqlite3"):
        return any(words in str(cause).lower() for words in _SQLITE)
    number = error.args[0] if error.args else None
    return isinstance(error, InterfaceError) or number in _MYSQL
