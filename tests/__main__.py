"""Runs the test lanes: ``python -m tests [lane …] [--jobs N] [pytest arguments]``.

A lane is a Django project of its own (Django has one settings module a process), so each runs in its own process of
pytest. Every ``tests/<lane>/settings.py`` is one; ``OTHERS`` lists those that differ. The last line is
``N passed, N failed`` with ``, N skipped`` where any were; an error counts as failed. Standard library only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parent
REPORTS = "TESTS_REPORTS"
"""The environment variable that names a directory to keep the JUnit reports in."""
INSTALLED = "TESTS_INSTALLED"
"""The one that names where the packages must be installed; tests/test_installed.py then joins every lane."""


@dataclass(frozen=True)
class Lane:
    name: str
    path: str
    settings: str
    by_default: bool = True


OTHERS = [
    # Makes virtual environments and installs into them: minutes, and the network. For CI.
    Lane("established", "tests/established", "tests.established.settings", by_default=False),
    # Migrates dozens of throw-away projects by processes of their own. For CI: on PostgreSQL, and SQLite in the matrix.
    Lane("swapped", "tests/swapped", "tests.swapped.settings", by_default=False),
    # The suite of tenancy again, with models that are the project's own. For CI, on PostgreSQL too.
    Lane("tenancy-swapped", "tests/tenancy", "tests.tenancy.settings_swapped", by_default=False),
    Lane("tenancy-own-user", "tests/tenancy", "tests.tenancy.settings_own_user", by_default=False),
    Lane("tenancy-established", "tests/tenancy", "tests.tenancy.settings_established", by_default=False),
]


@dataclass(frozen=True)
class Count:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed" + (f", {self.skipped} skipped" if self.skipped else "")


def lanes() -> dict[str, Lane]:
    found = (path.parent.name for path in sorted(TESTS.glob("*/settings.py")))
    discovered = {name: Lane(name, f"tests/{name}", f"tests.{name}.settings") for name in found}
    return discovered | {lane.name: lane for lane in OTHERS if (TESTS.parent / lane.path).exists()}


def count(report: Path) -> Count:
    """What a JUnit report says. Raises ``OSError`` or ``ParseError`` where pytest did not live to write it."""
    total = Count()
    for suite in ET.parse(report).getroot().iter("testsuite"):  # written by our own pytest
        ran, failures, errors, skipped = (int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped"))
        total += Count(ran - failures - errors - skipped, failures + errors, skipped)
    return total


def failures(report: Path) -> Iterator[tuple[str, str]]:
    """The tests of a JUnit report that failed, each with what pytest has to say of it."""
    for case in ET.parse(report).getroot().iter("testcase"):
        for kind in ("failure", "error"):
            for found in case.findall(kind):
                yield f"{case.get('classname')}::{case.get('name')}", found.text or found.get("message") or ""


def run(lane: Lane, reports: Path, pytest_arguments: Sequence[str], *, quiet: bool) -> tuple[Count, bool]:
    """Run one lane. With ``quiet`` its output comes out in one piece at its end, so that lanes do not interleave."""
    report = reports / f"{lane.name}.xml"
    report.unlink(missing_ok=True)
    paths = [lane.path, *(["tests/test_installed.py"] if os.environ.get(INSTALLED) else [])]
    command = [sys.executable, "-m", "pytest", *paths, f"--ds={lane.settings}", f"--junit-xml={report}"]
    begun = time.monotonic()
    print(f"── {lane.name}", flush=True)
    finished = subprocess.run(
        [*command, *pytest_arguments],
        cwd=TESTS.parent,
        check=False,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
    )
    try:
        counted = count(report)
    except (OSError, ET.ParseError):
        counted = Count(failed=1)  # it did not live to write one, whatever its exit status says
    # 5: nothing collected. That is a failure (a lane that ran nothing proved nothing), except where -k left it out.
    good = finished.returncode == 0 or (finished.returncode == 5 and bool(pytest_arguments))
    if not good and not counted.failed:
        counted += Count(failed=1)
    output = (finished.stdout or b"").decode(errors="replace")
    print(f"{output}── {lane.name}: {counted} in {time.monotonic() - begun:.1f} s\n", flush=True)
    return counted, good and not counted.failed


def parse(arguments: Sequence[str], known: dict[str, Lane]) -> tuple[list[Lane], int, list[str]]:
    """The lanes, the number of jobs, and what is for pytest: everything from the first argument that is neither."""
    names: list[str] = []
    jobs, rest = 1, list(arguments)
    while rest and (not rest[0].startswith("-") or rest[0] == "--jobs"):
        argument = rest.pop(0)
        if argument != "--jobs":
            names.append(argument)
        elif rest and rest[0].isdecimal() and rest[0] != "0":
            jobs = int(rest.pop(0))
        else:
            sys.exit("--jobs takes how many lanes run at the same time: a whole number of at least 1.")
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"Unknown lane {', '.join(unknown)}. The lanes are: {', '.join(known)}.")
    return [lane for lane in known.values() if (lane.name in names if names else lane.by_default)], jobs, rest


def main(arguments: Sequence[str]) -> int:
    if arguments in (["-h"], ["--help"]):
        print(f"{__doc__}\nLanes: {', '.join(lanes())}")
        return 0
    selected, jobs, pytest_arguments = parse(arguments, lanes())
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(jobs) as pool:
        reports = Path(os.environ.get(REPORTS) or scratch).resolve()
        reports.mkdir(parents=True, exist_ok=True)
        results = list(pool.map(lambda lane: run(lane, reports, pytest_arguments, quiet=jobs > 1), selected))
    for lane, (_, good) in zip(selected, results, strict=True):
        if not good:
            print(f"failed: {lane.name}")
    total = sum((counted for counted, _ in results), Count())
    if total == Count():
        print("No test ran.")
    print(total)
    return 0 if total != Count() and all(good for _, good in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
