"""Runs ``parallel/`` in a separate process with a database that several connections can open."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Loading all installed plugins would take longer than the tests.
PLUGINS = ["-p", "pytest_django.plugin", "-p", "pytest_randomly"]


def run_tests(folder: str, settings: str, **environment: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *PLUGINS, f"tests/apikeys/{folder}", f"--ds=tests.apikeys.{settings}", "-q"],
        cwd=ROOT,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("atomic_requests", [{}, {"ATOMIC_REQUESTS": "1"}], ids=["autocommit", "atomic_requests"])
def test_parallel_requests(tmp_path: Path, atomic_requests: dict[str, str]) -> None:
    run_tests("parallel", "settings_on_file", TEST_DATABASE=str(tmp_path / "db.sqlite3"), **atomic_requests)
