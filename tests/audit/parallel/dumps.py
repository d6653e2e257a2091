"""Dumps of the test database by the programs of its server, and databases that are restored from them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

_PROGRAMS = {
    "postgresql": (["pg_dump"], ["psql"]),
    "mysql": (["mariadb-dump", "mysqldump"], ["mariadb", "mysql"]),
    "sqlite": ([], []),
}


def dump(path: Path) -> None:
    """Write all tables, rows and triggers of the test database into a file."""
    if connection.vendor == "sqlite":
        # The last connection that closes writes the log of changes into the file.
        connection.close()
        shutil.copy(connection.settings_dict["NAME"], path)
        return
    with path.open("wb") as file:
        _run(_programs()[0], [str(connection.settings_dict["NAME"])], stdout=file)


@contextmanager
def restored(path: Path, name: str) -> Iterator[None]:
    """Restore a dump into a new database, and connect to that inside the block."""
    original = str(connection.settings_dict["NAME"])
    copy = str(path.with_name(f"{name}.sqlite3")) if connection.vendor == "sqlite" else f"{original}_{name}"
    if connection.vendor == "sqlite":
        shutil.copy(path, copy)
    else:
        _execute(f"DROP DATABASE IF EXISTS {connection.ops.quote_name(copy)}")
        _execute(f"CREATE DATABASE {connection.ops.quote_name(copy)}")
        stop = ["-v", "ON_ERROR_STOP=1", "-q"] if connection.vendor == "postgresql" else []
        with path.open("rb") as file:
            _run(_programs()[1], [*stop, copy], stdin=file)
    _connect(copy)
    try:
        yield
    finally:
        _connect(original)
        if connection.vendor != "sqlite":
            _execute(f"DROP DATABASE {connection.ops.quote_name(copy)}")


def _connect(name: str) -> None:
    connection.close()
    connection.settings_dict["NAME"] = name


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _programs() -> list[str]:
    choices = (map(shutil.which, names) for names in _PROGRAMS[connection.vendor])
    found = [path for choice in choices if (path := next(filter(None, choice), None))]
    if len(found) < len(_PROGRAMS[connection.vendor]):
        names = " and ".join(" or ".join(choice) for choice in _PROGRAMS[connection.vendor])
        pytest.skip(f"needs {names}, the programs of the database server")
    return found


def _run(program: str, arguments: Sequence[str], **streams: Any) -> None:
    database = connection.settings_dict
    user = "-U" if connection.vendor == "postgresql" else "-u"
    port = "-p" if connection.vendor == "postgresql" else "-P"
    options = {"-h": database["HOST"], port: database["PORT"], user: database["USER"]}
    given = [text for option, value in options.items() if value for text in (option, str(value))]
    password = {"PGPASSWORD": database["PASSWORD"], "MYSQL_PWD": database["PASSWORD"]} if database["PASSWORD"] else {}
    subprocess.run([program, *given, *arguments], env=os.environ | password, check=True, **streams)
