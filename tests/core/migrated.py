"""A generated project whose app ``keys`` has a foreign key to the model in a setting. Tests write its migrations."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.databases import databases

ROOT = Path(__file__).resolve().parents[2]

SETTINGS = """
from tests.databases import databases

SECRET_KEY = "core-tests"
DATABASES = databases()
INSTALLED_APPS = {apps}
KEYS_COMPANY_MODEL = "{model}"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True
{more}
"""
MANAGE = """
import os, sys
from django.core.management import execute_from_command_line

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
for command in " ".join(sys.argv[1:]).split(" / "):
    execute_from_command_line(["manage.py", *command.split()])
"""
TRY = """
from django.apps import apps
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connection
from keys.models import Key


class Command(BaseCommand):
    def handle(self, **options):
        Company = apps.get_model(settings.KEYS_COMPANY_MODEL)
        company = Company.objects.create(name="mill")
        key = Key.objects.create(company=company)
        assert Key.objects.get(company__name="mill") == key
        # The database has a constraint that refers to the present table of companies.
        with connection.cursor() as cursor:
            relations = connection.introspection.get_relations(cursor, "keys_key")
        assert relations["company_id"][:2] == ("id", Company._meta.db_table), relations
        company.delete()
        assert not Key.objects.exists()
"""
KEYS_MODELS = """
from django.db import models
from dovetail_core.models import SettingForeignKey


class Key(models.Model):
    id = models.AutoField(primary_key=True)
    company = SettingForeignKey(setting="KEYS_COMPANY_MODEL", on_delete=models.CASCADE)
"""
KEYS_MIGRATION = """
from django.db import migrations, models
from dovetail_core.models import TargetingMigration, dependency, target


class Migration(TargetingMigration):
    initial = True
    dependencies = [dependency("KEYS_COMPANY_MODEL")]
    operations = [
        migrations.CreateModel(
            name="Key",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("company", models.ForeignKey(on_delete=models.CASCADE, to=target("KEYS_COMPANY_MODEL"))),
            ],
        ),
    ]
"""
MIGRATION = """
from django.db import migrations, models
from django.db.migrations import *


class Migration(migrations.Migration):
    replaces = {replaces}
    dependencies = {dependencies}
    operations = [{operations}]
"""


class Project:
    """A project in ``folder``. ``more`` contains additional settings."""

    def __init__(self, folder: Path, *apps: str, model: str = "companies.Company", more: str = "") -> None:
        self.folder = folder
        self.apps = ("keys", *apps)
        self.name = f"core_{os.getpid()}_{folder.name}"[:60]
        self.configure(model, more)
        self.write("manage.py", MANAGE)
        for app in self.apps:
            self.write(f"{app}/__init__.py", "")
            self.write(f"{app}/migrations/__init__.py", "")
            self.models(app)
        self.write("keys/management/__init__.py", "")
        self.write("keys/management/commands/__init__.py", "")
        self.write("keys/management/commands/try.py", TRY)
        self.write("keys/models.py", KEYS_MODELS)
        self.write("keys/migrations/0001_initial.py", KEYS_MIGRATION)

    def configure(self, model: str, more: str = "") -> None:
        self.write("settings.py", SETTINGS.format(apps=self.apps, model=model, more=more))

    def models(self, app: str, *names: str, table: str = "") -> None:
        """Write the models of an app, each with a primary key and a name."""
        fields = "id = models.AutoField(primary_key=True)\n    name = models.CharField(max_length=9)"
        meta = f"class Meta:\n        db_table = {table!r}" if table else ""
        classes = (f"class {name}(models.Model):\n    {fields}\n    {meta}\n" for name in names)
        self.write(f"{app}/models.py", "\n\n".join(["from django.db import models", *classes]))

    def migration(
        self,
        path: str,
        *operations: str,
        after: list[tuple[str, str]] | None = None,
        replaces: Sequence[str | tuple[str, str]] = (),
    ) -> None:
        """Write the migration ``app/0001_name``. By default it depends on the migration with the previous number.

        ``replaces`` contains names of migrations of the same app, or ``(app, name)`` for other apps.
        """
        app, name = path.split("/")[0], path.split("/")[-1]
        folder = self.folder / path.rpartition("/")[0] / ("" if path.count("/") > 1 else "migrations")
        number = int(name[:4])
        before = sorted(other.stem for other in folder.glob(f"{number - 1:04}_*.py"))
        text = MIGRATION.format(
            replaces=[(app, old) if isinstance(old, str) else old for old in replaces],
            dependencies=[(app, before[0])] if after is None and before else after or [],
            operations=", ".join(operations),
        )
        self.write(str((folder / f"{name}.py").relative_to(self.folder)), text)

    def write(self, path: str, text: str) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def remove(self, path: str) -> None:
        app, name = path.split("/")
        (self.folder / app / "migrations" / f"{name}.py").unlink()

    def manage(self, *commands: str) -> None:
        """Run management commands in one process, because starting a process takes most of the time."""
        done = subprocess.run(
            # -B, because tests rewrite modules within the resolution of file times, which invalidate compiled modules.
            [sys.executable, "-B", "-W", "error", "manage.py", " / ".join(commands)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "DATABASE_URL": self.database_url()},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"

    def database_url(self) -> str:
        if os.environ.get("DATABASE_URL"):
            return os.environ["DATABASE_URL"].rpartition("/")[0] + f"/{self.name}"
        return f"sqlite:///{self.folder / 'db.sqlite3'}"

    def on_server(self, *statements: str) -> None:
        """Create or drop the database of the project. SQLite needs neither."""
        if not os.environ.get("DATABASE_URL"):
            return
        import psycopg

        server = databases()["default"]
        who = {"host": server["HOST"], "port": server["PORT"] or 5432}
        who |= {"user": server["USER"], "password": server["PASSWORD"]}
        with psycopg.connect(dbname="postgres", autocommit=True, **who) as connection:
            for statement in statements:
                connection.execute(statement.format(f'"{self.name}"'))
