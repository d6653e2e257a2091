"""Reads the JUnit reports that the lanes leave: what ran where, what failed, and what it cost.

Standard library only: CI sums up with it whatever else has failed.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FUNCTION = re.compile(r"\[.*", re.DOTALL)


@dataclass(frozen=True)
class Count:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed" + (f", {self.skipped} skipped" if self.skipped else "")


@dataclass(frozen=True)
class Case:
    """One test in one report. ``seconds`` is wall time, ``cpu`` seconds of CPU (0 where too little to report).

    A module that was skipped as a whole is one case, whose ``test`` is the module's name without ``::``.
    """

    test: str
    database: str
    python: str
    django: str
    seconds: float
    cpu: float = 0.0
    processes: int = 0
    skipped: str | None = None
    failure: str | None = None

    @property
    def function(self) -> str:
        """The test without its parameters."""
        return FUNCTION.sub("", self.test)


def count(report: Path) -> Count:
    """The sums of a JUnit report. Raises ``OSError`` or ``ParseError`` where pytest did not live to write it."""
    total = Count()
    for suite in ET.parse(report).getroot().iter("testsuite"):  # written by our own pytest
        ran, failed, errors, skipped = (int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped"))
        total += Count(ran - failed - errors - skipped, failed + errors, skipped)
    return total


def cases(report: Path) -> Iterator[Case]:
    """The tests of a JUnit report. Raises like :func:`count`."""
    for suite in ET.parse(report).getroot().iter("testsuite"):
        place = _properties(suite)
        for case in suite.findall("testcase"):
            cost = _properties(case)
            skipped = case.find("skipped")
            failure = next((node for kind in ("failure", "error") for node in case.findall(kind)), None)
            yield Case(
                test="::".join(filter(None, (case.get("classname"), case.get("name")))),
                database=place.get("database", ""),
                python=place.get("python", ""),
                django=place.get("django", ""),
                seconds=float(case.get("time", 0)),
                cpu=float(cost.get("cpu", 0)),
                processes=int(cost.get("processes", 0)),
                # pytest gives the reason of a skipped module in the text only.
                skipped=None if skipped is None else f"{skipped.get('message')} {skipped.text}",
                failure=None if failure is None else failure.text or failure.get("message") or "",
            )


def _properties(node: ET.Element) -> dict[str, str]:
    return {str(entry.get("name")): entry.get("value", "") for entry in node.findall("properties/property")}
