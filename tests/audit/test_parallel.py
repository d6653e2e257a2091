"""Run ``parallel/`` in a separate process, because it needs a database for several connections."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Only these plugins, because loading all installed plugins takes longer than the tests.
PLUGINS = ["-p", "pytest_django.plugin", "-p", "pytest_randomly"]


def test_parallel_writers_and_sealers_keep_the_log_intact(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *PLUGINS, "tests/audit/parallel", "--ds=tests.audit.settings_on_file", "-q"],
        cwd=ROOT,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "TEST_DATABASE": str(tmp_path / "db.sqlite3")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
