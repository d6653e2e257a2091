"""Runs ``parallel/`` in a separate process, because it needs a database that several connections can open."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# By name, because loading all installed plugins takes longer than the tests.
PLUGINS = ["-p", "pytest_django.plugin", "-p", "pytest_randomly"]


def test_parallel_workers(tmp_path: Path) -> None:
    settings = "--ds=tests.notify.settings_on_file"
    command = [sys.executable, "-m", "pytest", *PLUGINS, "tests/notify/parallel", settings, "-q"]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "TEST_DATABASE": str(tmp_path / "db.sqlite3")}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
