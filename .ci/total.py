"""Prints every step of a CI run with its duration, and as the last line the sum of their tests."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from xml.etree.ElementTree import ParseError

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.__main__ import Count, count, failures

NOTHING_SKIPPED = {"services-composed"}
LINES = 25
"""How much of a failure is printed again: its end, where the assertion stands."""


def print_failures(reports: Path) -> None:
    """Once more, beside the sum: a run prints too much for anybody to look for a failure in."""
    for report in sorted(reports.rglob("*.xml")):
        try:
            found = list(failures(report))
        except ParseError:
            print(f"\n━━ {report.relative_to(reports)} broke off")
            continue
        for test, text in found:
            print(f"\n━━ {report.relative_to(reports)}: {test}", *text.splitlines()[-LINES:], sep="\n")


def of_step(reports: Path, status: int) -> Count:
    """The tests of a step's reports; a step without any is one test, and one that failed has a failure to show."""
    total = Count()
    for report in sorted(reports.rglob("*.xml")):
        try:
            total += count(report)
        except ParseError:
            total += Count(failed=1)
    for result in reports.glob("tox.json"):
        for name, environment in json.loads(result.read_text())["testenvs"].items():
            # An environment that did not come to its tests has no report to say so.
            if not environment.get("result", {}).get("success", True) and not any((reports / name).glob("*.xml")):
                print(f"failed before its tests: {name}")
                total += Count(failed=1)
    if status and not total.failed:
        total += Count(failed=1)
    return total if total != Count() else Count(passed=1)


def main(reports: Path) -> int:
    total = Count()
    for line in (reports / "steps").read_text().splitlines():
        name, status, seconds = line.split("\t")
        counted = of_step(reports / name, int(status))
        if name in NOTHING_SKIPPED and counted.skipped:
            print(f"{name} left {counted.skipped} tests out, although everything they need should be here")
            counted += Count(failed=counted.skipped)
        total += counted
        print(f"{'ok    ' if not counted.failed else 'FAILED'} {name:<20} {timedelta(seconds=int(seconds))}  {counted}")
    print_failures(reports)
    print(f"{total.passed} passed, {total.failed} failed")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
