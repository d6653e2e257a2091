"""``parallel/`` needs a database that several connections can open, so it runs in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_what_must_hold_when_workers_meet(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "tests/notify/parallel", "--ds=tests.notify.settings_on_file", "-q"]
    environment = {**os.environ, "TEST_DATABASE": str(tmp_path / "db.sqlite3")}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
