"""Which database connection writes an entry."""

from __future__ import annotations

from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from dovetail_audit.conf import conf
from dovetail_audit.models import Entry


def home() -> str:
    """Return the alias of the database that holds the entries."""
    return conf.ALIAS or router.db_for_write(Entry)


def owner() -> str:
    """Return the alias that connects as the owner of the tables."""
    return conf.OWNER_ALIAS or home()


def alias_for(using: str | None) -> str:
    """Return the alias for an entry about a change on ``using``: the same, if it is a connection to the same database.

    The entry is then committed and rolled back with the change.
    """
    using = using or router.db_for_write(Entry)
    return using if is_same_database(using, home()) else home()


def is_same_database(one: str, other: str) -> bool:
    return one == other or _address(connections[one]) == _address(connections[other])


def _address(connection: BaseDatabaseWrapper) -> tuple[object, ...]:
    return tuple(connection.settings_dict.get(name) for name in ("ENGINE", "HOST", "PORT", "NAME"))
