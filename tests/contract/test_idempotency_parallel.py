"""Concurrent equal requests, and processes killed between effect and response, on separate connections."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

ROOT = Path(__file__).parents[2]


SERVER = os.environ.get("DATABASE_URL", "").startswith(("postgres", "mysql"))
# These tests start processes, and SQLite has only one writer, so they run where it matters most.
MODES = ["autocommit", "atomic requests"] if SERVER else ["atomic requests"]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a database to copy, or "" on MariaDB, which cannot copy databases."""
    if os.environ.get("DATABASE_URL", "").startswith("mysql"):
        yield ""
        return
    url, drop = _database(tmp_path_factory.mktemp("template"))
    try:
        run({**os.environ, "DATABASE_URL": url}, "prepare")
        yield url
    finally:
        drop()


@pytest.fixture(params=MODES)
def environment(request: Any, tmp_path: Path, template: str) -> Iterator[dict[str, str]]:
    url, drop = _database(tmp_path, template)
    made = {**os.environ, "DATABASE_URL": url, "ATOMIC": "1" if request.param == "atomic requests" else ""}
    try:
        if not template:
            run(made, "prepare")
        yield made
    finally:
        drop()


def _database(folder: Path, template: str = "") -> tuple[str, Callable[[], None]]:
    """Return the URL of a new database, empty or copied from ``template``, and a function that drops it."""
    given = os.environ.get("DATABASE_URL", "")
    if not SERVER:
        path = folder / "parallel.sqlite3"
        if template:
            shutil.copy(template.removeprefix("sqlite:///"), path)
        return f"sqlite:///{path}", lambda: None
    server, base = given.rsplit("/", 1)
    name = f"{base}_parallel_{uuid4().hex[:8]}"
    if given.startswith("mysql"):
        return f"{server}/{name}", _mariadb(given, name)
    import psycopg

    def execute(statement: str) -> None:
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(statement)

    execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {template.rsplit('/', 1)[1]}" if template else ""))
    return f"{server}/{name}", lambda: execute(f"DROP DATABASE {name} WITH (FORCE)")


def _mariadb(url: str, name: str) -> Callable[[], None]:
    import pymysql

    server = urlsplit(url)

    def execute(statement: str) -> None:
        with pymysql.connect(
            host=server.hostname, port=server.port or 3306, user=server.username, password=server.password or ""
        ) as connection:
            connection.cursor().execute(statement)

    execute(f"CREATE DATABASE {name}")
    return lambda: execute(f"DROP DATABASE {name}")


def run(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "tests.contract.parallel", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_fifty_concurrent_requests_execute_once(
    environment: dict[str, str],
) -> None:
    for answers, executed in json.loads(run(environment, "many", "50")):
        assert executed == 1
        assert {status for status, _, _ in answers} == {201}
        assert len({content for _, content, _ in answers}) == 1
        assert sorted(replayed for _, _, replayed in answers) == [False] + [True] * 49


def test_killed_process_leaves_one_effect(environment: dict[str, str]) -> None:
    environment = {**environment, "LEASE": "2"}
    command = [sys.executable, "-m", "tests.contract.parallel", "hang"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("written")
        process.send_signal(signal.SIGKILL)
    time.sleep(2)
    (status, _, replayed), effects = json.loads(run(environment, "once"))
    while status == 409:
        time.sleep(0.5)
        (status, _, replayed), effects = json.loads(run(environment, "once"))
    assert (status, replayed, effects) == (201, False, 1)
    (status, _, replayed), effects = json.loads(run(environment, "once"))
    assert (status, replayed, effects) == (201, True, 1)


@pytest.mark.skipif(not SERVER, reason="SQLite has one writer; set DATABASE_URL to a server")
@pytest.mark.parametrize(("moment", "replayed"), [("before", False), ("after", True)])
def test_killed_external_work_is_recovered_once(
    environment: dict[str, str], tmp_path: Path, moment: str, replayed: bool
) -> None:
    environment = {**environment, "LEASE": "1", "EFFECTS": str(tmp_path / "effects")}
    command = [sys.executable, "-m", "tests.contract.parallel", "outside", moment]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGKILL)
    time.sleep(1)
    unknown = json.loads(run({**environment, "UNREACHABLE": "1"}, "outside", "again"))
    assert [status for status, _, _ in unknown[0]] == [409, 409]
    assert all("idempotency_outcome_unknown" in content for _, content, _ in unknown[0])
    assert unknown[1:] == [1 if moment == "after" else 0, 0]
    (first, again), effects, _ = json.loads(run(environment, "outside", "again"))
    assert (first[0], first[2], effects) == (201, replayed, 1)
    assert again == [201, first[1], True]
