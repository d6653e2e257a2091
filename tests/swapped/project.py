"""A throw-away project, written to a folder and run by its manage.py as its author would."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests import forking
from tests.databases import databases

SETTINGS = """
import os
from tests import forking
from tests.databases import databases

if os.environ.get("DATABASE_URL", "").startswith("mysql:"):
    import pymysql
    pymysql.version_info = (2, 2, 8, "final", 0)
    pymysql.install_as_MySQLdb()
SECRET_KEY = "a key for tests only, long enough for every check"
DATABASES = databases()
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "rest_framework", *{apps}, "dovetail_tenancy", "documents",
]
"""

MANAGE = """
import os, sys
from django.core.management import execute_from_command_line

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
execute_from_command_line(sys.argv)
"""

DOCUMENTS = """
from django.conf import settings
from django.db import models
from dovetail_tenancy.models import TenantForeignKey, TenantModel


class Folder(TenantModel):
    name = models.CharField(max_length=100)


class Document(TenantModel):
    folder = TenantForeignKey(Folder, on_delete=models.CASCADE)
    author = TenantForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True)
"""


class Project:
    """``apps`` maps an app's name to the text of its models; ``settings`` are lines added to the settings."""

    def __init__(self, folder: Path, apps: dict[str, str], settings: str = "") -> None:
        self.folder = folder
        self.write("settings.py", SETTINGS.format(apps=sorted(apps)) + settings)
        self.write("manage.py", MANAGE)
        for app, models in {**apps, "documents": DOCUMENTS}.items():
            self.write(f"{app}/__init__.py", "")
            self.write(f"{app}/models.py", models)
            self.write(f"{app}/migrations/__init__.py", "")

    def write(self, path: str, text: str) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def read(self, path: str) -> str:
        return (self.folder / path).read_text()

    def manage(self, *arguments: str, fails: bool = False) -> str:
        done = forking.run(
            # -B: a test rewrites modules faster than the file times that tell compiled ones from stale ones.
            (sys.executable, "-B", "-W", "error"),
            "manage.py",
            *arguments,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "DATABASE_URL": self.database_url()},
        )
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def database_url(self) -> str:
        if os.environ.get("DATABASE_URL"):
            return os.environ["DATABASE_URL"].rsplit("/", 1)[0] + f"/{self.database_name()}"
        return f"sqlite:///{self.folder / 'db.sqlite3'}"

    def database_name(self) -> str:
        return f"{databases()['default']['NAME']}_{self.folder.name}".lower()[:60]

    def run(self, code: str) -> str:
        return self.manage("shell", "-v0", "-c", code)

    def steps(self, *commands: str) -> None:
        """Run commands one after another in one process, which is what makes many lanes bearable."""
        lines = "\n".join(f"call_command(*{command.split()!r})" for command in commands)
        self.run(f"from django.core.management import call_command\n{lines}")
