"""Proves from the reports of a whole CI run that thinning hides no test, and that markers say the truth."""

from __future__ import annotations

import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.reports import Case

ROOT = Path(__file__).resolve().parent.parent
MARKED: dict[str, list[str]] = tomllib.loads((ROOT / "tests/markers.toml").read_text())
CHEAP = 0.5
"""Seconds of CPU below which a test without processes is wrongly marked. The mark begins at 1.5; machines differ."""
EXPENSIVE = 3.0
"""Seconds of CPU from which an unmarked test is named."""
OLDEST = ("3.11", "5.2")

COLUMNS = {
    "SQLite": lambda case: case.database == "sqlite",
    "PostgreSQL": lambda case: case.database == "postgresql",
    "the oldest Python and Django": lambda case: (case.python, case.django) == OLDEST,
}
ELSEWHERE = {
    # Reads files and wheels, and has no database.
    "tests.packaging": {"SQLite", "PostgreSQL"},
    # Makes environments of its own, for every Django and on every database.
    "tests.established": {"SQLite", "PostgreSQL", "the oldest Python and Django"},
    # Makes an environment with the versions of each project, on SQLite.
    "tests.adoption": {"SQLite", "PostgreSQL", "the oldest Python and Django"},
    # Is about the environment that runs it.
    "tests.test_installed": {"SQLite", "PostgreSQL"},
}
"""Where tests need not run. Every other test runs in each column, or is skipped there for one of ``REASONS``."""
REASONS = {
    "SQLite": [
        r"PostgreSQL",
        r"MariaDB",
        r"SQLite has one writer",
        r"REDIS_URL",
        r"no Redis",
        r"no broker",
        r"not installed",
    ],
    "PostgreSQL": [r"SQLite", r"MariaDB", r"every other database", r"this Django has"],
    "the oldest Python and Django": [
        # The composition runs on PostgreSQL there.
        r"only SQLite reports its space",
        r"PostgreSQL",
        r"MariaDB",
        r"SQLite has one writer",
        r"not installed",
        r"this Django has",
        r"django\.tasks",
    ],
}
"""What a skipped test may lack in each column, as it says in the reason for which it is skipped."""


def unproven(ran: Iterable[Case]) -> Iterator[str]:
    """The test functions that did not run where they must. ``ran`` are the tests of every report of a whole run.

    Functions, because a parameter may be a database, or a name that only some versions have.
    """
    functions: dict[str, list[Case]] = defaultdict(list)
    skipped_modules: dict[str, list[Case]] = defaultdict(list)
    for case in ran:
        (functions if "::" in case.test else skipped_modules)[case.function].append(case)
    modules = {function.partition("::")[0] for function in functions}
    for module in sorted(skipped_modules.keys() - modules):
        yield f"{module} ran nowhere: {skipped_modules[module][0].skipped}"
    for function, runs in sorted(functions.items()):
        if all(case.skipped is not None for case in runs):
            yield f"{function} ran nowhere: {runs[0].skipped}"
            continue
        module = function.partition("::")[0]
        exempt = set().union(*(columns for lane, columns in ELSEWHERE.items() if f"{module}.".startswith(f"{lane}.")))
        for column in COLUMNS.keys() - exempt:
            here = [case for case in (*runs, *skipped_modules[module]) if COLUMNS[column](case)]
            if not here:
                yield f"{function} is selected by no step on {column}"
            elif not any(case.skipped is None or may_lack(case.skipped, column) for case in here):
                yield f"{function} is skipped on {column}: {here[0].skipped}"


def may_lack(reason: str, column: str) -> bool:
    return any(re.search(pattern, reason) for pattern in REASONS[column])


def place(case: Case) -> str:
    """Return the function of this test as tests/markers.toml names it."""
    module, _, function = case.function.partition("::")
    return f"{module.removeprefix('tests.').replace('.', '/')}.py::{function.rpartition('::')[2]}"


def entry(case: Case, marker: str = "process") -> str | None:
    """Return the entry of tests/markers.toml that marks this test, or None."""
    function = place(case)
    matches = (name for name in MARKED[marker] if function == name or function.startswith((f"{name}/", f"{name}::")))
    return next(matches, None)


def wrongly_marked(ran: Iterable[Case]) -> Iterator[str]:
    """Yield the functions and modules marked ``process`` of which no run starts a process or takes long.

    An entry that names a module is judged as one, because its tests may share a process that the first of them starts.
    """
    runs: dict[str, list[Case]] = defaultdict(list)
    for case in ran:
        if case.skipped is None and case.failure is None and (name := entry(case)):
            runs[name if name.endswith(".py") else place(case)].append(case)
    for name, own in sorted(runs.items()):
        cpu = max(case.cpu for case in own)
        if cpu < CHEAP and not any(case.processes for case in own):
            yield (
                f"{name} is marked `process` in tests/markers.toml, but starts no process and takes less than "
                f"{CHEAP} s of CPU: take it out, so that it runs on every pair of Python and Django"
            )


def unmarked(ran: Iterable[Case]) -> Iterator[str]:
    """The functions that start processes or take long, and are not marked; each once, with its highest cost."""
    worst: dict[str, Case] = {}
    for case in ran:
        if (case.cpu > EXPENSIVE or case.processes) and not entry(case):
            worst[case.function] = max(worst.get(case.function, case), case, key=lambda run: run.cpu)
    for function, case in sorted(worst.items()):
        yield f"not in tests/markers.toml: {function} ({case.cpu:.1f} s of CPU, {case.processes} processes)"
