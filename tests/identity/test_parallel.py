"""Run ``parallel/`` in a separate process, because it needs a database that several connections can open."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.identity.test_own_user_projects import run_tests


@pytest.mark.parametrize("atomic_requests", [{}, {"ATOMIC_REQUESTS": "1"}], ids=["autocommit", "atomic_requests"])
def test_concurrent_requests(tmp_path: Path, atomic_requests: dict[str, str]) -> None:
    database = {"TEST_DATABASE": str(tmp_path / "db.sqlite3")}
    run_tests("parallel", "settings_on_file", **database, **atomic_requests)
