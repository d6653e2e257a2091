"""The lane's project migrates from an empty database and back, and makemigrations finds no changes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.apps import apps
from django.db import connection

ROOT = Path(__file__).parents[2]

STEPS = """
import sys
import django
django.setup()
from django.core.management import call_command
from django.db import connections
for alias in connections:
    call_command("migrate", database=alias, verbosity=0)
call_command("makemigrations", check=True, dry_run=True, verbosity=0)
call_command("check", fail_level="WARNING", databases=list(connections))
for app in sys.argv[1].split():
    call_command("migrate", app, "zero", verbosity=0)
left = connections["default"].introspection.table_names()
print("left:", *[name for name in left if name.startswith(tuple(sys.argv[2].split()))])
"""


@pytest.mark.skipif(connection.vendor != "sqlite", reason="it runs on a SQLite file of its own")
def test_migrations_run_forwards_and_backwards(tmp_path: Path) -> None:
    # Dependents first. The user model is excluded, because most of the project depends on its tables.
    ours = ["documents", "dovetail_tenancy", *(app for app in ("own",) if apps.is_installed(f"tests.tenancy.{app}"))]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", STEPS, " ".join(ours), " ".join(f"{app}_" for app in ours)],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": os.environ["DJANGO_SETTINGS_MODULE"],
            "DATABASE_URL": f"sqlite:///{tmp_path / 'lane.sqlite3'}",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "left:", done.stdout
