"""Run ``parallel/`` in a separate process, because it needs a database for several connections."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Only these plugins, because loading all installed plugins takes longer than the tests.
PLUGINS = ["-p", "pytest_django.plugin", "-p", "pytest_randomly"]


@pytest.mark.parametrize(
    ("atomic_requests", "selected"),
    # Only services are called in the transactions of requests.
    [({}, ""), ({"ATOMIC_REQUESTS": "1"}, "eight_unique_jobs or retries or start_and_cancellation")],
    ids=["autocommit", "atomic_requests"],
)
def test_parallel_changes_keep_invariants(tmp_path: Path, atomic_requests: dict[str, str], selected: str) -> None:
    settings = "--ds=tests.adminapi.settings_on_file"
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *PLUGINS, "tests/adminapi/parallel", settings, "-q", "-k", selected],
        cwd=ROOT,
        env=os.environ
        | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "TEST_DATABASE": str(tmp_path / "db.sqlite3")}
        | atomic_requests,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
