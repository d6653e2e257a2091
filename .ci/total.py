"""Sums up a CI run from its reports: steps with their costs, the slowest, the guard, failures, the last line."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from xml.etree.ElementTree import ParseError

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from guard import may_lack, unmarked, unproven, wrongly_marked

from tests.reports import Case, Count, cases, count

ROOT = Path(__file__).resolve().parent.parent
NOTHING_SKIPPED = {"services-composed"}
"""Steps in which everything is here that a test on PostgreSQL may need, so that a skipped test is a failure."""
LINES = 25
"""How many lines of a failure are printed again: its end holds the assertion."""
SLOWEST = 10
TOLERATED = 1.3
"""By how much a step may exceed its budget: machines differ, and a budget reports but does not fail."""


def report(reports: Path, *, whole: bool, seconds: float) -> int:
    """Print the summary. ``whole`` says that every piece ran, so that the guard can judge all tests."""
    steps = json.loads((reports / "steps.json").read_text())
    ran, broken = read(reports)
    total = print_steps(reports, steps)
    print_slowest(ran, steps)
    mistakes = judge(ran, whole=whole)
    print(*mistakes, sep="\n")
    total += Count(failed=1) if mistakes else Count(passed=1)
    print_failures(reports, ran, broken, steps)
    cpu = sum(step["cpu"] for step in steps)
    print(f"{duration(seconds)} in all, {duration(cpu)} of CPU, {len({case.test for case in ran})} distinct tests")
    print(f"{total.passed} passed, {total.failed} failed")
    return 1 if total.failed else 0


def read(reports: Path) -> tuple[list[Case], list[Path]]:
    """Every test of every report, and the reports that broke off."""
    ran: list[Case] = []
    broken: list[Path] = []
    for path in sorted(reports.rglob("*.xml")):
        try:
            ran += cases(path)
        except ParseError:
            broken.append(path)
    return ran, broken


def judge(ran: list[Case], *, whole: bool) -> list[str]:
    """Print what to look at, and return what is wrong."""
    for line in unmarked(ran):
        print(line)
    mistakes = list(wrongly_marked(ran))
    if whole:
        mistakes += unproven(ran)
    verdict = "FAILED" if mistakes else "ok    "
    print(f"{verdict} guard: markers" + (", and where each test ran" if whole else ""))
    return mistakes


def of_step(folder: Path, status: int) -> Count:
    """The tests of a step's reports; a step without any is one test, and one that failed has a failure to show."""
    total = Count()
    for path in sorted(folder.rglob("*.xml")):
        try:
            total += count(path)
        except ParseError:
            total += Count(failed=1)
    if status and not total.failed:
        total += Count(failed=1)
    return total if total != Count() else Count(passed=1)


def needlessly_skipped(folder: Path) -> int:
    """Return the number of skipped tests that PostgreSQL does not rule out. A report that broke off fails anyway."""
    ran, _ = read(folder)
    return sum(case.skipped is not None and not may_lack(case.skipped, "PostgreSQL") for case in ran)


def print_steps(reports: Path, steps: list[dict]) -> Count:
    total = Count()
    over = []
    print(f"\n{'':6} {'step':<28} {'wall':>8} {'CPU':>8} {'budget':>8}")
    for step in steps:
        name, cpu, budget = step["name"], step["cpu"], step["budget"]
        counted = of_step(reports / name, step["status"])
        if name in NOTHING_SKIPPED and (skipped := needlessly_skipped(reports / name)):
            print(f"{name} skipped {skipped} tests, although everything they need should be here")
            counted += Count(failed=skipped)
        total += counted
        verdict = "FAILED" if counted.failed else "ok"
        print(f"{verdict:<6} {name:<28} {step['seconds']:>6.0f} s {cpu:>6.0f} s {budget:>6.0f} s  {counted}")
        if budget and cpu > budget * TOLERATED:
            over.append(
                f"OVER BUDGET: {name} took {cpu:.0f} s of CPU, its budget in .ci/budgets.toml is {budget:.0f} s"
            )
    print(*over, sep="\n")
    return total


def print_slowest(ran: list[Case], steps: list[dict]) -> None:
    print("The slowest steps:")
    for step in sorted(steps, key=lambda step: -step["seconds"])[:SLOWEST]:
        print(f"  {step['seconds']:6.0f} s  {step['name']}")
    print("The slowest tests:")
    for case in sorted(ran, key=lambda case: -case.seconds)[:SLOWEST]:
        where = f"{case.database or 'no database'}, Python {case.python}, Django {case.django}"
        print(f"  {case.seconds:6.1f} s  {case.test} ({where})")


def print_failures(reports: Path, ran: list[Case], broken: list[Path], steps: list[dict]) -> None:
    """Print them again, beside the sum: the output of a whole run is too long to look for a failure in it."""
    for path in broken:
        print(f"\n━━ {path.relative_to(reports)} broke off")
    for case in ran:
        if case.failure is not None:
            where = f"{case.database or 'no database'}, Python {case.python}, Django {case.django}"
            print(f"\n━━ {case.test} ({where})", *case.failure.splitlines()[-LINES:], sep="\n")
    for step in steps:
        if step["status"] and not any((reports / step["name"]).rglob("*.xml")):
            lines = (reports / step["name"] / "output.log").read_text(errors="replace").splitlines()
            print(f"\n━━ {step['name']}", *lines[-LINES:], sep="\n")


def duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


if __name__ == "__main__":
    # The reports of several machines, each of which ran some of the pieces.
    gathered, unreadable = read(Path(sys.argv[1]))
    wrong = [*judge(gathered, whole=True), *(f"{path} broke off" for path in unreadable)]
    print(*wrong, sep="\n")
    print(f"{0 if wrong else 1} passed, {1 if wrong else 0} failed")
    sys.exit(1 if wrong else 0)
