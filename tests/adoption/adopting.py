"""Puts the README's own lines into a copy of a project, runs the project with the packages, and takes them out.

``tests/adoption/<project>/`` is what a project of ``tests/projects`` decides:

===================== =====================================================================================
``__init__.py``       the names below, read by the tests
``before.py``         runs before any package is there, and writes the project's rows
``callers.py``        what the scripts import in the process of the project; see ``configured/callers.py``
``<package>.py``      a script in place of that of ``tests/adoption/calls``; ``together.py`` is for all packages
``also_<package>.py`` a script that runs after it
``after.py``          runs after the packages have left: the project responds as before
===================== =====================================================================================

============= ================ =====================================================================================
name          default
============= ================ =====================================================================================
SETTINGS_FILE required         the path of the module that holds the settings
URLS_FILE     required         the path of the root URLconf
APP           required         an installed app, whose module ``notifications`` holds the README's type
SETTINGS      ``{}``           lines that follow those of a package's README, by its short name
URLS          ``{}``           the same for the root URLconf
FILES         ``{}``           files of the project that the lines need or change: ``{package: {path: text}}``
INDENT        ``""``           what stands before each line of settings
END           ``None``         the text of the settings file before which lines go; None for its end
PRELUDE       ``""``           runs in the process first, as the project's ``manage.py`` does
VARIABLES     ``{}``           environment variables besides ``DJANGO_SETTINGS_MODULE``
WARNINGS      ``["error"]``    warnings filters, for projects whose libraries warn
WITHOUT       ``{}``           the packages that the project cannot have, with the reason
============= ================ =====================================================================================
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import sqlite3
import sys
import textwrap
import tomllib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tests import forking
from tests.wheels import ROOT, UV, build, run, run_steps

HERE = Path(__file__).parent
PROJECTS = sorted(path.parent.name for path in HERE.glob("*/before.py"))
PACKAGES = sorted(
    (path.parent.name for path in ROOT.glob("packages/*/pyproject.toml") if path.parent.name != "core"),
    # Last, because its middleware follows those of the other packages.
    key=lambda name: (name == "adminapi", name),
)
OPTIONAL: dict[str, Any] = {
    "SETTINGS": {},
    "URLS": {},
    "FILES": {},
    "INDENT": "",
    "END": None,
    "PRELUDE": "",
    "VARIABLES": {},
    "WARNINGS": ["error"],
    "WITHOUT": {},
}
IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", "*.sqlite3")
NO_ISSUES = "System check identified no issues"


def facts(project: str) -> dict[str, Any]:
    return {**OPTIONAL, **vars(import_module(f"tests.adoption.{project}"))}


def sets(project: str) -> list[tuple[str, ...]]:
    """Each package alone, and all together."""
    packages = [package for package in PACKAGES if package not in facts(project)["WITHOUT"]]
    return [*((package,) for package in packages), tuple(packages)]


def block(package: str, name: str) -> str:
    """The lines of the README that follow the comment ``<!-- name -->``; empty if there are none."""
    readme = (ROOT / "packages" / package / "README.md").read_text()
    match = re.search(rf"<!-- {re.escape(name)} -->\n```\w+\n(.*?)```", readme, flags=re.DOTALL)
    return match[1] if match else ""


def lines_of(code: str) -> int:
    return sum(1 for line in code.splitlines() if line.strip() and not line.lstrip().startswith("#"))


class Wheels:
    """Each wheel unpacked into a folder of its own, so that ``PYTHONPATH`` installs any set without pip."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, wheel in build(("core", *PACKAGES), folder / "wheels").items():
            zipfile.ZipFile(wheel).extractall(folder / name)

    def paths(self, packages: tuple[str, ...]) -> list[str]:
        return [str(self.folder / name) for name in ("core", *packages)]


@dataclass
class Adoption:
    settings: int
    """How many lines of settings the project gets, without comments."""
    seconds: float
    """User and system time of all processes."""


class Project:
    """A project of ``tests/projects``, with a virtual environment that lacks only our packages."""

    def __init__(self, name: str, folder: Path, wheels: Wheels) -> None:
        self.name = name
        self.wheels = wheels
        self.folder = folder
        self.facts = facts(name)
        self.python = folder / "venv/bin/python"
        self.before = folder / "before"
        seconds = children()
        self._install()
        shutil.copytree(ROOT / "tests/projects" / name, self.before, ignore=IGNORED)
        shutil.copy(HERE / name / "callers.py", self.before / "callers.py")
        self.run(self.before, (), "migrate --verbosity 0", *self.calls("before"), "test --verbosity 0")
        self.seconds = children() - seconds

    def _install(self) -> None:
        """The requirements of the project first: the packages have to work with the versions that it has."""
        requirements = ROOT / "tests/projects" / self.name / "requirements.txt"
        run([UV, "venv", "--quiet", "--python", sys.executable, self.folder / "venv"])
        dependencies = {
            requirement
            for package in PACKAGES
            for requirement in tomllib.loads((ROOT / "packages" / package / "pyproject.toml").read_text())["project"][
                "dependencies"
            ]
            if not requirement.startswith("dovetail-")
        }
        run([UV, "pip", "install", "--quiet", "--python", self.python, "-r", requirements, *sorted(dependencies)])

    def calls(self, *names: str) -> list[str]:
        """The paths of the scripts ``names``: this project's own, else those for all projects."""
        own = HERE / self.name
        paths = [
            path
            for name in names
            for path in (
                own / f"{name}.py" if (own / f"{name}.py").exists() else HERE / "calls" / f"{name}.py",
                own / f"also_{name}.py",
            )
        ]
        return [str(path) for path in paths if path.exists()]

    def run(self, folder: Path, packages: tuple[str, ...], *steps: str) -> str:
        filters = [part for warning in self.facts["WARNINGS"] for part in ("-W", warning)]
        environment = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR"}}
        environment |= {
            "DJANGO_SETTINGS_MODULE": self.facts["SETTINGS_FILE"].removesuffix(".py").replace("/", "."),
            "PYTHONPATH": os.pathsep.join([str(folder), *(self.wheels.paths(packages) if packages else [])]),
            **self.facts["VARIABLES"],
        }
        return run_steps([self.python, *filters], steps, folder, environment, self.facts["PRELUDE"])

    def adopt(self, packages: tuple[str, ...], folder: Path) -> Adoption:
        """Install ``packages`` into a copy in ``folder``, call them, and leave. Raises AssertionError."""
        seconds = children()
        shutil.copytree(self.before, folder)
        before = contents(folder)
        written = self.write(packages, folder)
        calls = self.calls(*packages, *(["together"] if len(packages) > 1 else []))
        zero = (f"migrate dovetail_{package} zero" for package in reversed(packages))
        printed = self.run(
            folder,
            packages,
            "check --fail-level WARNING",
            "migrate --verbosity 0",
            "makemigrations --check --dry-run",
            *(["dovetail_doctor"] if len(packages) > 1 else []),
            *calls,
            "test --verbosity 0",
            *zero,
        )
        assert printed.startswith(NO_ISSUES), f"Every command prints this:\n{printed}"

        settings = lines_of(written[self.facts["SETTINGS_FILE"]])
        for path in written:
            if (self.before / path).exists():
                shutil.copy(self.before / path, folder / path)
            else:
                (folder / path).unlink()
        up_to_date = ("check --fail-level WARNING", "migrate --check", "makemigrations --check --dry-run")
        self.run(folder, (), *up_to_date, *self.calls("after"), "test --verbosity 0")
        after = contents(folder)
        assert after.keys() == before.keys()
        for table, (statement, keys) in before.items():
            assert after[table][0] == statement
            assert keys <= after[table][1], f"Rows of {table} are gone."
        return Adoption(settings, children() - seconds)

    def write(self, packages: tuple[str, ...], folder: Path) -> dict[str, str]:
        """Add the lines of the READMEs, and what the project decides. Returns what each file got, by its path."""
        settings = urls = ""
        files: dict[str, str] = {}
        for package in packages:
            settings += block(package, "settings.py") + self.facts["SETTINGS"].get(package, "")
            urls += block(package, "urls.py") + VIEWS.get(package, "") + self.facts["URLS"].get(package, "")
            if views := block(package, "views.py"):
                files[f"{package}_views.py"] = views
            if types := block(package, "notifications.py"):
                files[f"{self.facts['APP']}/notifications.py"] = types
            files |= self.facts["FILES"].get(package, {})
        for path, text in files.items():
            (folder / path).write_text(text)
        files[self.facts["SETTINGS_FILE"]] = settings
        append(folder / self.facts["SETTINGS_FILE"], textwrap.indent(settings, self.facts["INDENT"]), self.facts["END"])
        files[self.facts["URLS_FILE"]] = urls
        append(folder / self.facts["URLS_FILE"], urls, None)
        return files


VIEWS = {
    "apikeys": """
from apikeys_views import OrdersView
urlpatterns = [path("api/orders/", OrdersView.as_view()), *urlpatterns]
""",
}
"""Where the views of a README are served."""


def append(path: Path, lines: str, end: str | None) -> None:
    text = path.read_text()
    position = len(text) if end is None else text.index(end)
    path.write_text(f"{text[:position]}\n{lines}\n{text[position:]}")


def contents(folder: Path) -> Mapping[str, tuple[str, set[int]]]:
    """The statement that made each table and index of the project's SQLite database, and the keys of a table's rows."""
    (path,) = folder.glob("*.sqlite3")
    with sqlite3.connect(path) as connection:
        made = connection.execute("SELECT name, type, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall()
        keys = {
            name: {key for (key,) in connection.execute(f'SELECT rowid FROM "{name}"')}
            for name, kind, _ in made
            if kind == "table"
        }
    return {name: (sql, keys.get(name, set())) for name, _, sql in made}


def children() -> float:
    """User and system time of every process that has ended so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime + forking.seconds
