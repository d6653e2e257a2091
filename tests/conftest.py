"""Marks the tests that ``markers.toml`` lists, and measures the cost of each test, in every lane."""

from __future__ import annotations

import platform
import resource
import sys
import tomllib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import django
import pytest
from _pytest.junitxml import xml_key

from tests import forking

TESTS = Path(__file__).parent
MARKED: dict[str, list[str]] = tomllib.loads((TESTS / "markers.toml").read_text())
"""The entries of each marker: a folder, a module, a function or one of its cases, relative to this folder."""
WORTH_REPORTING = 0.3
"""Seconds of CPU from which a test's cost stands in the report; most tests take a hundredth of it."""
STARTS = frozenset(
    {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "subprocess.Popen", forking.STARTED}
)
"""The audit events of starting a process (https://docs.python.org/3/library/audit_events.html)."""


class Cost:
    """The CPU time and the started processes of the test that runs now, without those of shared fixtures."""

    def __init__(self) -> None:
        self.processes = self.shared_processes = 0
        self.begun = self.shared = 0.0

    def begin(self) -> None:
        self.processes = self.shared_processes = 0
        self.begun, self.shared = cpu_seconds(), 0.0

    def observe(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in STARTS:
            self.processes += 1

    def properties(self) -> list[tuple[str, str]]:
        seconds = cpu_seconds() - self.begun - self.shared
        processes = self.processes - self.shared_processes
        cost = [("cpu", f"{seconds:.2f}")] if processes or seconds >= WORTH_REPORTING else []
        return cost + ([("processes", str(processes))] if processes else [])


def cpu_seconds() -> float:
    """User and system time of this process, of every child that it has waited for, and of forked programs."""
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages) + forking.seconds


cost = Cost()
# An audit hook stays for the life of the process, so it is added once.
sys.addaudithook(cost.observe)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    cost.begin()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any, request: pytest.FixtureRequest) -> Generator[None, Any, Any]:
    """Leave out the cost of a shared fixture: in random order any test may be the first that needs it."""
    if fixturedef.scope == "function":
        return (yield)
    seconds, processes = cpu_seconds() - cost.shared, cost.processes - cost.shared_processes
    try:
        return (yield)
    finally:
        cost.shared, cost.shared_processes = cpu_seconds() - seconds, cost.processes - processes


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    try:
        return (yield)
    finally:
        item.user_properties += cost.properties()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        module = item.path.relative_to(TESTS).as_posix()
        function, case = f"{module}::{getattr(item, 'originalname', item.name)}", f"{module}::{item.name}"
        for marker, entries in MARKED.items():
            if item.get_closest_marker(marker):
                raise pytest.UsageError(f"{function} sets the marker {marker!r} itself: list it in tests/markers.toml.")
            if any(entry == case or is_within(function, entry) for entry in entries):
                item.add_marker(marker)


def is_within(function: str, entry: str) -> bool:
    return function == entry or function.startswith((f"{entry}/", f"{entry}::"))


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Say in the report where the tests ran; CI compares that with where each test has to run."""
    if report := session.config.stash.get(xml_key, None):
        from django.conf import settings

        default = getattr(settings, "DATABASES", {}).get("default", {})
        report.add_global_property("database", vendor(default.get("ENGINE", "")))
        report.add_global_property("python", ".".join(platform.python_version_tuple()[:2]))
        report.add_global_property("django", ".".join(map(str, django.VERSION[:2])))


def vendor(engine: str) -> str:
    return next((name for name in ("sqlite", "postgresql", "mysql") if name in engine), "")
