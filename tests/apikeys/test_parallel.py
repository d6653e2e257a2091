"""Run ``parallel/`` in a separate process, because it needs a database for several connections."""

from __future__ import annotations

from pathlib import Path

from tests.parallel import run_tests


def test_parallel_requests(tmp_path: Path) -> None:
    run_tests("apikeys/parallel", "settings_on_file", TEST_DATABASE=str(tmp_path / "db.sqlite3"))
