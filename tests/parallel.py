"""Calls that run at the same time, and the nested runs of pytest that they need.

SQLite in memory has one connection, and a process has one settings module. So the tests of a folder ``parallel/`` run
in a process of their own, with a database that several connections can open.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections

ROOT = Path(__file__).resolve().parents[1]
# Only these plugins, because loading all installed plugins takes longer than the tests.
PLUGINS = ["-p", "pytest_django.plugin", "-p", "pytest_randomly"]
WAIT = 120
"""Seconds after which a thread counts as blocked."""


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Start ``calls`` together, each on a connection of its own; return what each one returned or raised."""
    barrier = threading.Barrier(len(calls))
    outcomes: list[Any] = [None] * len(calls)

    def run(number: int) -> None:
        try:
            # The connection is opened first, so that the calls overlap.
            connection.ensure_connection()
            barrier.wait(timeout=WAIT)
            outcomes[number] = calls[number]()
        except Exception as error:  # noqa: BLE001  # an outcome like any other, judged by the test
            outcomes[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=WAIT)
    assert not any(thread.is_alive() for thread in threads)
    return outcomes


def rounds(number: int) -> int:
    """Return how often a test repeats a race: ``number``, or a fifth of it on SQLite, which has one writer.

    Under ``ATOMIC_REQUESTS`` a fifth is enough too: the repetition is for the moments between two transactions.
    """
    settings = connections.settings["default"]
    fewer = connection.vendor == "sqlite" or settings["ATOMIC_REQUESTS"]
    return max(number // 5, 2) if fewer else number


@pytest.fixture(autouse=True, params=[False, True], ids=["autocommit", "atomic_requests"])
def atomic_requests(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test without and with ``ATOMIC_REQUESTS``, which Django reads for each request."""
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", request.param)


def run_tests(folder: str, settings: str, *arguments: str, **environment: str) -> None:
    """Run pytest on a folder below this one, with a settings module of the same lane."""
    lane = folder.partition("/")[0]
    variables = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", *PLUGINS, f"tests/{folder}", f"--ds=tests.{lane}.{settings}", "-q"),
            *arguments,
        ],
        cwd=ROOT,
        env=variables | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " passed" in ran.stdout
