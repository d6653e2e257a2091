"""The established project in a folder of its own, and the virtual environments that run it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.wheels import ROOT, UV, run, run_steps

DRIVERS = {"postgres": ["psycopg[binary]>=3.2"], "mysql": ["pymysql>=1.1"]}

# The project's driver creates and drops the databases, without the project.
SERVER = """
import sys
from urllib.parse import unquote, urlsplit
url, *statements = sys.argv[1:]
parts = urlsplit(url)
who = {"host": parts.hostname, "user": unquote(parts.username or ""), "password": unquote(parts.password or "")}
if parts.scheme == "mysql":
    import pymysql
    connection = pymysql.connect(port=parts.port or 3306, **who)
else:
    import psycopg
    connection = psycopg.connect(port=parts.port or 5432, dbname="postgres", autocommit=True, **who)
for statement in statements:
    connection.cursor().execute(statement)
connection.close()
"""

MIGRATE = ["migrate --database default", "migrate --database archive"]

# The interpreters that a Django version supports; the first one that is installed is used.
PYTHONS = {"5.2": ["3.11", "3.12", "3.13"], "6.0": ["3.12", "3.13"], "6.1": ["3.13", "3.12", "3.14"]}


class Environment:
    """A virtual environment with Django, REST framework and a database driver. Cells use it one after another.

    Installing and compiling Django took a fifth of a cell's time.
    """

    before: tuple[Path, set[str]] | None = None
    """The project as ``Installation.begin`` left it on SQLite, and its tables."""

    def __init__(self, folder: Path, interpreter: Path, django: str, drivers: Sequence[str]) -> None:
        self.python = folder / "bin" / "python"
        self._frozen = folder / "frozen.txt"
        run([UV, "venv", "--quiet", "--python", interpreter, folder])
        self.pip("install", "--compile-bytecode", f"Django=={django}.*", "djangorestframework", *drivers)
        self._frozen.write_text(self.pip("freeze"))

    def clean(self) -> None:
        """Remove the wheels and their dependencies that an earlier cell has left: the next one must bring its own."""
        self.pip("sync", self._frozen)
        assert self.pip("freeze") == self._frozen.read_text()
        (packages,) = self._frozen.parent.glob("lib/python3.*/site-packages")
        assert list(packages.glob("dovetail*")) == []

    def pip(self, command: str, *arguments: object) -> str:
        return run([UV, "pip", command, "--quiet", "--python", self.python, *arguments])


class Installation:
    """A copy of the established project with databases of its own, in an environment that others have used before."""

    def __init__(self, folder: Path, environment: Environment, database_server: str | None) -> None:
        self.project = folder / "project"
        self.environment = environment
        self.python = environment.python
        self.pip = environment.pip
        self.settings = "established.settings"
        self.server = database_server
        self.database = f"established_{os.getpid()}"
        shutil.copytree(ROOT / "tests/projects/established", self.project, ignore=shutil.ignore_patterns("*.pyc"))

    def begin(self) -> set[str]:
        """Migrate and write the project's rows, before any package is there. Returns the tables.

        On SQLite every cell of an environment begins with a copy of the same files.
        """
        before = self.environment.before
        if before is not None and self.server is None:
            for path in before[0].glob("*.sqlite3"):
                shutil.copy(path, self.project)
            return before[1]
        tables = self.tables(*MIGRATE, "before")
        if self.server is None:
            folder = self.python.parents[1] / "before"
            folder.mkdir()
            for path in self.project.glob("*.sqlite3"):
                shutil.copy(path, folder)
            self.environment.before = folder, tables
        return tables

    def install(self, *wheels: object) -> None:
        # Compiled, because management commands run with -B and would compile the package each time.
        self.pip("install", "--compile-bytecode", *wheels)

    def run(self, *steps: str) -> str:
        """Management commands, and scripts of ``calls/`` by their name, one after the other in one process."""
        folder = Path(__file__).parent / "calls"
        paths = [str(path) if (path := folder / f"{step}.py").exists() else step for step in steps]
        return run_steps([self.python, "-B", "-W", "error"], paths, self.project, self._environment())

    def write(self, path: str, text: str) -> None:
        (self.project / path).write_text(text)

    def tables(self, *steps: str) -> set[str]:
        """The tables of the default database after ``steps``, read by the same process."""
        return set(self.run(*steps, "tables").splitlines()[-1].split())

    def make_databases(self) -> None:
        self._on_server("CREATE DATABASE {}")

    def drop_databases(self) -> None:
        self._on_server("DROP DATABASE IF EXISTS {}")

    def _on_server(self, statement: str) -> None:
        if self.server:
            statements = [statement.format(name) for name in (self.database, f"{self.database}_archive")]
            run([self.python, "-c", SERVER, self.server, *statements])

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR"}}
        return kept | {
            "DATABASE_URL": f"{self.server}/{self.database}" if self.server else "",
            "DJANGO_SETTINGS_MODULE": self.settings,
            "PYTHONPATH": str(self.project),
        }
