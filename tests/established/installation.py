"""The established project in a folder and a virtual environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UV = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
DRIVERS = {"postgres": ["psycopg[binary]>=3.2"], "mysql": ["pymysql>=1.1"]}

# Databases are made and dropped by the driver that the project uses, with the project out of the way.
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

# To start Python and Django is most of what a management command costs.
STEPS = """
import runpy, sys
import django
from django.core.management import execute_from_command_line
for step in sys.argv[1:]:
    if step.endswith(".py"):
        django.setup()
        runpy.run_path(step)
    else:
        execute_from_command_line(["manage.py", *step.split()])
"""


class Installation:
    def __init__(self, folder: Path, interpreter: Path, django: str, database_server: str | None) -> None:
        self.project = folder / "project"
        self.python = folder / "venv" / "bin" / "python"
        self.settings = "established.settings"
        self.server = database_server
        self.database = f"established_{os.getpid()}"
        shutil.copytree(ROOT / "tests/projects/established", self.project, ignore=shutil.ignore_patterns("*.pyc"))
        run([UV, "venv", "--quiet", "--python", interpreter, self.python.parents[1]])
        scheme = (database_server or "").partition(":")[0]
        self.pip("install", f"Django=={django}.*", "djangorestframework", *DRIVERS.get(scheme, []))

    def pip(self, command: str, *arguments: object) -> str:
        return run([UV, "pip", command, "--quiet", "--python", self.python, *arguments])

    def run(self, *steps: str) -> str:
        """Management commands, and scripts of ``calls/`` by their name, one after the other in one process."""
        folder = Path(__file__).parent / "calls"
        paths = [str(path) if (path := folder / f"{step}.py").exists() else step for step in steps]
        return run([self.python, "-B", "-W", "error", "-c", STEPS, *paths], self.project, self._environment())

    def write(self, path: str, text: str) -> None:
        (self.project / path).write_text(text)

    def tables(self) -> set[str]:
        return set(self.run("tables").split())

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
            "PYTHONDEVMODE": "1",
        }


def run(command: Sequence[object], folder: Path | None = None, environment: dict[str, str] | None = None) -> str:
    finished = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert finished.returncode == 0, f"{command}\n{finished.stdout}\n{finished.stderr}"
    return finished.stdout
