"""The database of a lane: SQLite, or what ``DATABASE_URL`` names."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import unquote, urlsplit

# The rows live no longer than a test, so no commit waits for the disk. Other sessions still see each commit at once.
# MariaDB has no such setting for a session.
SQLITE_OPTIONS = {"init_command": "PRAGMA synchronous=OFF"}
POSTGRESQL_OPTIONS = {"options": "-c synchronous_commit=off"}
_ENGINES = {"postgres": "postgresql", "postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql"}


def databases() -> dict[str, dict[str, Any]]:
    """``DATABASES`` for a test lane; two lanes on one server get two databases by their URL's path.

    SQLite as ``sqlite:////absolute/path``; in memory by default.
    """
    url = urlsplit(os.environ.get("DATABASE_URL") or "sqlite:///:memory:")
    if url.scheme == "sqlite":
        name = url.path.removeprefix("/")
        return {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "OPTIONS": {**SQLITE_OPTIONS}}}
    engine = _ENGINES[url.scheme]
    return {
        "default": {
            "ENGINE": f"django.db.backends.{engine}",
            "NAME": url.path.lstrip("/"),
            "USER": unquote(url.username or ""),
            "PASSWORD": unquote(url.password or ""),
            "HOST": url.hostname or "",
            "PORT": url.port or "",
            "OPTIONS": {**POSTGRESQL_OPTIONS} if engine == "postgresql" else {},
        }
    }
