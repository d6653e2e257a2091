"""The summary of a CI run and its guard, on reports that are written here."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.sax.saxutils import quoteattr

import pytest

from tests.packaging.tree import PACKAGES, ROOT
from tests.reports import Case

CASE = Case("tests.core.test_net::test_a", "sqlite", "3.12", "6.1", seconds=1.0)
EVERYWHERE = [("sqlite", "3.12", "6.1"), ("postgresql", "3.12", "6.1"), ("sqlite", "3.11", "5.2")]


sys.path.append(str(ROOT / ".ci"))


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f".ci/{name}.py")
    assert spec
    assert spec.loader
    # Dataclasses look their module up.
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def guard() -> ModuleType:
    return load("guard")


@pytest.fixture
def summarize(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str]]]:
    """Writes the reports of steps, given as ``name=(exit status, test cases as XML)``, and sums them up."""

    def write(budget: float = 0, **steps: tuple[int, str | None]) -> tuple[int, list[str]]:
        results = []
        for name, (status, tests) in steps.items():
            (tmp_path / name).mkdir()
            (tmp_path / name / "output.log").write_text(f"the last line of {name}\n")
            if tests is not None:
                (tmp_path / name / "lane.xml").write_text(report(tests))
            results.append({"name": name, "status": status, "seconds": 65.0, "cpu": 13.5, "budget": budget})
        (tmp_path / "steps.json").write_text(json.dumps(results))
        status = load("total").report(tmp_path, whole=False, seconds=130.0)
        return status, capsys.readouterr().out.splitlines()

    return write


def report(tests: str) -> str:
    counts = {"tests": "</testcase>", "failures": "<failure", "skipped": "<skipped"}
    attributes = " ".join(f'{name}="{tests.count(tag)}"' for name, tag in counts.items())
    place = '<properties><property name="database" value="sqlite"/></properties>'
    return f"<testsuites><testsuite {attributes}>{place}{tests}</testsuite></testsuites>"


def case(name: str, inside: str = "", seconds: float = 1.0) -> str:
    return f"<testcase classname='tests.core.test_net' name={quoteattr(name)} time='{seconds}'>{inside}</testcase>"


def test_a_run_without_failures_ends_with_its_sum(summarize: Any) -> None:
    status, lines = summarize(test=(0, case("test_a") + case("test_b")), lint=(0, None))
    assert (status, lines[-1]) == (0, "4 passed, 0 failed")
    assert "0:02:10 in all, 0:00:27 of CPU, 2 distinct tests" in lines


def test_a_failed_test_is_printed_again(summarize: Any) -> None:
    status, lines = summarize(test=(1, case("test_a") + case("test_b", "<failure>assert 0</failure>")))
    assert (status, lines[-1]) == (1, "2 passed, 1 failed")
    assert "━━ tests.core.test_net::test_b (sqlite, Python , Django )" in lines
    assert "assert 0" in lines


@pytest.mark.parametrize("tests", [None, case("test_a")], ids=["without tests", "whose tests passed"])
def test_a_step_that_exits_with_an_error_fails(summarize: Any, tests: str | None) -> None:
    status, lines = summarize(types=(2, tests))
    assert status == 1
    assert lines[-1].endswith("1 failed")
    assert ("the last line of types" in lines) == (tests is None)


def test_a_report_that_broke_off_fails(summarize: Any, tmp_path: Path) -> None:
    (tmp_path / "earlier").mkdir()
    (tmp_path / "earlier/broken.xml").write_text("<testsuites>")
    status, lines = summarize(test=(1, None))
    assert status == 1
    assert "━━ earlier/broken.xml broke off" in lines


def test_a_test_skipped_where_everything_is_here_fails(summarize: Any) -> None:
    skipped = case("test_a", "<skipped message='no broker'/>") + case("test_b", "<skipped message='needs SQLite'/>")
    status, lines = summarize(**{"services-composed": (0, skipped)})
    assert (status, lines[-1]) == (1, "1 passed, 1 failed")


def test_a_step_far_over_its_budget_is_named(summarize: Any) -> None:
    status, lines = summarize(budget=10, test=(0, case("test_a")))
    assert status == 0
    assert "OVER BUDGET: test took 14 s of CPU, its budget in .ci/budgets.toml is 10 s" in lines


def test_a_step_little_over_its_budget_is_not_named(summarize: Any) -> None:
    assert not any(line.startswith("OVER BUDGET") for line in summarize(budget=11, test=(0, case("test_a")))[1])


def placed(*places: tuple[str, str, str], **values: Any) -> list[Case]:
    names = ("database", "python", "django")
    return [Case(**{**CASE.__dict__, **dict(zip(names, place, strict=True)), **values}) for place in places]


def test_the_guard_accepts_a_test_that_ran_everywhere(guard: ModuleType) -> None:
    assert list(guard.unproven(placed(*EVERYWHERE))) == []


@pytest.mark.parametrize(
    ("left_out", "column"),
    [(0, "SQLite"), (1, "PostgreSQL"), (2, "the oldest Python and Django")],
)
def test_the_guard_names_a_test_that_no_step_selects(guard: ModuleType, left_out: int, column: str) -> None:
    runs = placed(*EVERYWHERE)
    # SQLite is also where the oldest versions run.
    del runs[left_out]
    runs = [run for run in runs if column != "SQLite" or run.database != "sqlite"]
    messages = list(guard.unproven(runs))
    assert f"{CASE.function} is selected by no step on {column}" in messages


def test_the_guard_names_a_test_that_is_always_skipped(guard: ModuleType) -> None:
    assert list(guard.unproven(placed(*EVERYWHERE, skipped="no time"))) == [f"{CASE.test} ran nowhere: no time"]


def test_the_guard_names_a_module_that_is_always_skipped(guard: ModuleType) -> None:
    runs = placed(*EVERYWHERE, test="tests.core.test_sql", skipped="no time")
    assert list(guard.unproven(runs)) == ["tests.core.test_sql ran nowhere: no time"]


def test_a_skipped_module_gives_the_reason_for_its_tests(guard: ModuleType) -> None:
    runs = placed(EVERYWHERE[0], EVERYWHERE[1])
    skipped = placed(EVERYWHERE[2], test="tests.core.test_net", skipped="this Django has no tasks")
    assert list(guard.unproven(runs + skipped)) == []
    assert len(list(guard.unproven(runs))) == 1


@pytest.mark.parametrize(("reason", "messages"), [("row security is PostgreSQL's", 0), ("it is slow", 1)])
def test_the_guard_accepts_only_known_reasons_to_skip(guard: ModuleType, reason: str, messages: int) -> None:
    runs = placed(EVERYWHERE[1], ("postgresql", "3.11", "5.2")) + placed(EVERYWHERE[0], skipped=reason)
    assert len(list(guard.unproven(runs))) == messages


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("core/test_net.py::test_a", "core/test_net.py::test_a"),
        ("core/test_net.py", "core/test_net.py"),
        ("core", "core/test_net.py::test_a"),
    ],
)
@pytest.mark.parametrize(
    ("cost", "wrong"), [({}, True), ({"cpu": 0.4}, True), ({"cpu": 1.4}, False), ({"processes": 1}, False)]
)
def test_the_guard_names_an_entry_of_cheap_tests(
    guard: ModuleType, monkeypatch: pytest.MonkeyPatch, entry: str, name: str, cost: dict[str, Any], wrong: bool
) -> None:
    monkeypatch.setitem(guard.MARKED, "process", [entry])
    messages = list(guard.wrongly_marked(placed(*EVERYWHERE, test=f"{CASE.test}[x]", **cost)))
    assert [message.split(" is marked")[0] for message in messages] == ([name] if wrong else [])


def test_tests_of_one_module_may_share_a_process(guard: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(guard.MARKED, "process", ["core/test_net.py"])
    runs = placed(*EVERYWHERE, test="tests.core.test_net::test_b")
    assert list(guard.wrongly_marked(placed(*EVERYWHERE, processes=1) + runs)) == []


def test_cheap_test_in_a_folder_of_expensive_tests_is_named(guard: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(guard.MARKED, "process", ["core"])
    runs = placed(*EVERYWHERE, test="tests.core.test_net::test_b")
    (message,) = guard.wrongly_marked(placed(*EVERYWHERE, processes=1) + runs)
    assert message.startswith("core/test_net.py::test_b is marked")


@pytest.mark.parametrize(("cost", "named"), [({"cpu": 2.9}, 0), ({"cpu": 3.1}, 1), ({"processes": 1}, 1)])
def test_an_expensive_test_without_the_marker_is_named(
    guard: ModuleType, monkeypatch: pytest.MonkeyPatch, cost: dict[str, Any], named: int
) -> None:
    monkeypatch.setitem(guard.MARKED, "process", [])
    assert len(list(guard.unmarked(placed(*EVERYWHERE, **cost)))) == named


@pytest.mark.parametrize("entry", sorted({entry for entries in load("guard").MARKED.values() for entry in entries}))
def test_an_entry_of_the_marker_list_names_what_exists(entry: str) -> None:
    path, _, function = entry.partition("[")[0].partition("::")
    where = ROOT / "tests" / path
    assert where.exists()
    if function:
        nodes = ast.walk(ast.parse(where.read_text()))
        assert function in {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def pipeline(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / ".ci/pipeline.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def steps_of(*pieces: str) -> dict[str, str]:
    """Each step with its piece, as ``.ci/run --list`` prints them."""
    lines = (line.partition(":")[0] for line in pipeline("--list", *pieces).stdout.splitlines())
    return {step: piece for piece, step in map(str.split, lines)}


def test_every_step_has_a_budget_and_every_budget_a_step() -> None:
    steps = steps_of().keys()
    assert load("pipeline").BUDGETS.keys() == steps | {"environment"}


def test_every_package_has_its_steps() -> None:
    assert steps_of().keys() >= {
        f"{kind}-{package.name}" for package in PACKAGES for kind in ("postgres", "compat-alone")
    }


def test_a_piece_brings_the_steps_that_it_needs() -> None:
    steps = steps_of("compat")
    assert {name for name, piece in steps.items() if piece != "compat"} == {"build"}


def test_an_unknown_piece_names_the_pieces() -> None:
    finished = pipeline("everything")
    assert finished.returncode == 2
    assert "Unknown: everything. The pieces are: test, static, postgres" in finished.stderr


def test_the_matrix_has_every_python_and_every_django() -> None:
    module = load("pipeline")
    cells = {module.OLDEST, *module.THIN}
    assert {cell.split("-")[0] for cell in cells} == {"py311", "py312", "py313"}
    assert {cell.split("-")[1] for cell in cells} == {"dj52", "dj60", "dj61"}
