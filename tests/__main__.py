"""Runs the test lanes: ``python -m tests [lane …] [--jobs N] [pytest arguments]``.

A lane is a Django project of its own (Django has one settings module a process), so each runs in its own process of
pytest. Every ``tests/<lane>/settings.py`` is one; ``OTHERS`` lists those that differ. ``packages`` stands for the
lanes of all packages. The last line is ``N passed, N failed`` with ``, N skipped`` where any were; an error counts as
failed. Standard library only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.reports import Count, count

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


PACKAGES = "packages"
LONGEST = ["composed", "tenancy", "notify", "identity", "audit", "flags"]
"""Start these first: a long lane that starts last runs alone, while the other jobs have nothing left to do."""
OTHERS = [
    # Makes virtual environments and installs into them, which takes minutes and the network.
    Lane("established", "tests/established", "tests.established.settings", by_default=False),
    Lane("adoption", "tests/adoption", "tests.adoption.settings", by_default=False),
    # Migrates dozens of throw-away projects, each in processes of its own.
    Lane("swapped", "tests/swapped", "tests.swapped.settings", by_default=False),
    # The suite of tenancy again, with models of the project's own.
    Lane("tenancy-swapped", "tests/tenancy", "tests.tenancy.settings_swapped", by_default=False),
    Lane("tenancy-own-user", "tests/tenancy", "tests.tenancy.settings_own_user", by_default=False),
    Lane("tenancy-established", "tests/tenancy", "tests.tenancy.settings_established", by_default=False),
]


def lanes() -> dict[str, Lane]:
    found = (path.parent.name for path in sorted(TESTS.glob("*/settings.py")))
    discovered = {name: Lane(name, f"tests/{name}", f"tests.{name}.settings") for name in found}
    return discovered | {lane.name: lane for lane in OTHERS if (TESTS.parent / lane.path).exists()}


def run(lane: Lane, reports: Path, pytest_arguments: Sequence[str], *, quiet: bool) -> tuple[Count, bool]:
    """Run one lane. With ``quiet`` its output comes out in one piece at its end, so that lanes do not interleave."""
    report = reports / f"{lane.name}.xml"
    report.unlink(missing_ok=True)
    paths = [lane.path, *(["tests/test_installed.py"] if os.environ.get(INSTALLED) else [])]
    command = [sys.executable, "-m", "pytest", *paths, f"--ds={lane.settings}", f"--junit-xml={report}"]
    if lane.name != "composed":
        # Its plugin takes two seconds to load, where it is installed.
        command += ["-p", "no:schemathesis"]
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
    if PACKAGES in names:
        folders = {path.parent.name for path in TESTS.parent.glob("packages/*/pyproject.toml")}
        names = [name for name in names if name != PACKAGES] + sorted(folders & known.keys())
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"Unknown lane {', '.join(unknown)}. The lanes are: {', '.join(known)}.")
    selected = [lane for lane in known.values() if (lane.name in names if names else lane.by_default)]
    return sorted(selected, key=lambda lane: LONGEST.index(lane.name) if lane.name in LONGEST else 99), jobs, rest


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
