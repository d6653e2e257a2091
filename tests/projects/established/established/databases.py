from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


def database(url: str | None, sqlite: Path, *, suffix: str = "") -> dict[str, Any]:
    # The rows live no longer than a test, so no commit waits for the disk.
    if not url:
        options = {"init_command": "PRAGMA synchronous=OFF"}
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": sqlite, "ATOMIC_REQUESTS": True, "OPTIONS": options}
    parts = urlsplit(url)
    if parts.scheme == "mysql":
        # The driver in pure Python, under the name and version that Django asks for.
        import pymysql

        pymysql.version_info = (2, 2, 7, "final", 0)
        pymysql.install_as_MySQLdb()
    return {
        "ENGINE": {
            "postgres": "django.db.backends.postgresql",
            "mysql": "django.db.backends.mysql",
        }[parts.scheme],
        "NAME": parts.path.lstrip("/") + suffix,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "ATOMIC_REQUESTS": True,
        "OPTIONS": {"options": "-c synchronous_commit=off"} if parts.scheme == "postgres" else {},
    }
