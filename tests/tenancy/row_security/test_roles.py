"""The roles of the README that migrate, serve and dump, and the rows that each sees."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from psycopg import errors

from tests.roles import administrator

pytestmark = [pytest.mark.postgres, pytest.mark.django_db]

ROOT = Path(__file__).parents[3]
README = (ROOT / "packages/tenancy/README.md").read_text()
NAMES = ("tenancy_may_bypass", "tenancy_bypass", "shop_owner", "shop")

PROGRAM = """
import django
django.setup()
from django.core.management import call_command
from django.db import connection
from dovetail_tenancy import services, tenant, unscoped
from tests.tenancy.documents.models import Folder
"""
MIGRATE = """
from types import SimpleNamespace
from django.apps import apps
from dovetail_tenancy.operations import EnableRowSecurity
call_command("migrate", verbosity=0)
state = SimpleNamespace(apps=apps)
with connection.schema_editor() as editor:
    for name in ("Folder", "Document", "Note"):
        EnableRowSecurity(name).database_forwards("documents", editor, state, state)
"""
SERVE = """
from tests.tenancy.factories import make_organization
for name in ("Acme", "Globex"):
    organization = make_organization(name)
    with tenant(organization):
        Folder.objects.create(name=name)
        assert Folder.objects.count() == 1
with connection.cursor() as cursor:
    cursor.execute("SELECT count(*) FROM documents_folder")
    assert cursor.fetchone() == (0,)
with unscoped(reason="a test"):
    assert Folder.objects.count() == 2
call_command("check", databases=["default"])
"""
MIGRATE_DATA = """
def forwards(apps, editor):
    assert apps.get_model("documents", "Folder").objects.update(name="migrated") == 2
from django.db import migrations
from django.db.migrations.loader import MigrationLoader
with connection.schema_editor() as editor:
    migrations.RunPython(forwards).database_forwards(
        "documents", editor, MigrationLoader(connection).project_state(), MigrationLoader(connection).project_state()
    )
call_command("migrate", verbosity=0)
"""


class Shop:
    """Create a separate database with the roles of the README under other names."""

    def __init__(self, admin_settings: dict[str, Any], prefix: str) -> None:
        prefix = prefix.replace("-", "_")  # the names in the README have no quotes
        self.admin_settings = admin_settings
        self.database = f"{prefix}_shop"
        self.names = {name: f"{prefix}_{name}" for name in NAMES}

    def create(self) -> None:
        with administrator(self.admin_settings) as server:
            server.execute(f'CREATE DATABASE "{self.database}"')
        (statements,) = re.findall(r"```sql\n(.*?)```", README, flags=re.DOTALL)
        statements = re.sub("|".join(NAMES), lambda name: self.names[name[0]], statements)
        with administrator(self.admin_settings, self.database) as server:
            server.execute(statements)
            if password := self.admin_settings["PASSWORD"]:
                for name in ("shop_owner", "shop"):
                    server.execute(f"ALTER ROLE {self.names[name]} PASSWORD '{password}'")

    def drop(self) -> None:
        with administrator(self.admin_settings) as server:
            server.execute(f'DROP DATABASE IF EXISTS "{self.database}" WITH (FORCE)')
            for name in self.names.values():
                server.execute(f"DROP ROLE IF EXISTS {name}")

    def run(self, code: str, *, role: str) -> None:
        password = f":{self.admin_settings['PASSWORD']}" if self.admin_settings["PASSWORD"] else ""
        host = f"{self.admin_settings['HOST']}:{self.admin_settings['PORT'] or 5432}"
        environment = {
            **os.environ,
            "DATABASE_URL": f"postgres://{self.names[role]}{password}@{host}/{self.database}",
            "TENANCY_TEST_BYPASS_ROLE": self.names["tenancy_bypass"],
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM + code], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def dump(self, *options: str, role: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PGPASSWORD": self.admin_settings["PASSWORD"]}
        server = [
            "-h",
            self.admin_settings["HOST"],
            "-p",
            str(self.admin_settings["PORT"] or 5432),
            "-U",
            self.names[role],
        ]
        return subprocess.run(
            ["pg_dump", *options, *server, "--data-only", "--table=documents_folder", self.database],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def shop(admin_settings: dict[str, Any]) -> Iterator[Shop]:
    made = Shop(admin_settings, str(connection.settings_dict["NAME"]).removeprefix("test_"))
    made.drop()
    try:
        made.create()
        yield made
    finally:
        made.drop()


@pytest.mark.skipif(shutil.which("pg_dump") is None, reason="needs pg_dump: install the package postgresql-client")
def test_the_roles_of_the_readme_migrate_serve_and_dump(shop: Shop) -> None:
    shop.run(MIGRATE, role="shop_owner")
    shop.run(SERVE, role="shop")
    shop.run(MIGRATE_DATA, role="shop_owner")
    refused = shop.dump(role="shop_owner")
    assert refused.returncode != 0
    assert "row-level security" in refused.stderr
    dumped = shop.dump("--enable-row-security", role="shop_owner")
    assert dumped.returncode == 0, dumped.stderr
    assert dumped.stdout.count("migrated") == 2
    # As the service's role the dump would be empty or refused.
    assert shop.dump("--enable-row-security", role="shop").stdout.count("migrated") == 0
    with administrator(shop.admin_settings | {"USER": shop.names["shop"]}, shop.database) as server:
        with pytest.raises(errors.InsufficientPrivilege):
            server.execute("ALTER TABLE documents_folder DISABLE ROW LEVEL SECURITY")
        assert server.execute("SELECT count(*) FROM documents_folder").fetchone() == (0,)
