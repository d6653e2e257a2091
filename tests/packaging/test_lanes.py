"""The runner of lanes: its output and its exit status."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.tree import ROOT

PASSES = "def test_a(): pass\n"
FAILS = "def test_b(): assert 0\n"
SKIPS = "import pytest\ndef test_c(): pytest.skip('no server')\n"
ERRS = "import pytest\n@pytest.fixture\ndef broken(): raise OSError\ndef test_d(broken): pass\n"
# Loading Django takes half of the time of so small a lane. The runner only hands over the name of the settings.
PLUGIN = """
from importlib import import_module

def pytest_addoption(parser):
    parser.addoption("--ds", required=True)

def pytest_configure(config):
    import_module(config.getoption("ds"))
"""


@pytest.fixture
def lanes(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    for name in ("__init__.py", "__main__.py", "reports.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path / "tests")
    (tmp_path / "settings_plugin.py").write_text(PLUGIN)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['.']\n")
    return tmp_path


def write(root: Path, **lanes: str) -> None:
    for lane, test in lanes.items():
        folder = root / "tests" / lane
        folder.mkdir()
        (folder / "__init__.py").touch()
        (folder / "settings.py").write_text("SECRET_KEY = 'x'\nUSE_TZ = True\n")
        (folder / "test_it.py").write_text(test)


def invoke(root: Path, *command: str, **more: str) -> tuple[int, list[str]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TESTS_", "PYTEST_"))}
    # By name, because loading all installed plugins takes longer than the tests.
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "-p settings_plugin"}
    finished = subprocess.run(
        [sys.executable, *command], cwd=root, env=environment | more, capture_output=True, text=True, check=False
    )
    return finished.returncode, (finished.stdout + finished.stderr).splitlines()


def run(root: Path, *arguments: str, **more: str) -> tuple[int, list[str]]:
    return invoke(root, "-m", "tests", *arguments, **more)


@pytest.mark.parametrize("jobs", [(), ("--jobs", "2")], ids=["one by one", "two at a time"])
def test_the_last_line_is_the_sum_of_all_lanes(lanes: Path, jobs: tuple[str, ...]) -> None:
    write(lanes, one=PASSES, two=PASSES + FAILS, three=SKIPS + ERRS)
    status, lines = run(lanes, *jobs, PYTEST_ADDOPTS="-p pytest_django.plugin")
    assert (status, lines[-1]) == (1, "2 passed, 2 failed, 1 skipped")
    assert {"failed: three", "failed: two"} <= set(lines)


def test_nothing_is_said_of_skipped_tests_where_there_are_none(lanes: Path) -> None:
    write(lanes, one=PASSES, two=PASSES)
    status, lines = run(lanes)
    assert (status, lines[-1]) == (0, "2 passed, 0 failed")
    assert run(lanes, "two")[1][-1] == "1 passed, 0 failed"


def test_arguments_from_the_first_dash_on_are_pytests(lanes: Path) -> None:
    write(lanes, one=PASSES, two=PASSES + FAILS)
    status, lines = run(lanes, "two", "-k", "test_a")
    assert (status, lines[-1]) == (0, "1 passed, 0 failed")
    assert run(lanes, "-k", "test_b")[1][-1] == "0 passed, 1 failed"


def test_a_lane_that_runs_nothing_fails(lanes: Path) -> None:
    write(lanes, one=PASSES, two="")
    status, lines = run(lanes)
    assert (status, lines[-1]) == (1, "1 passed, 1 failed")


def test_a_lane_that_does_not_live_to_report_fails(lanes: Path) -> None:
    write(lanes, one=PASSES, two="import os\nos._exit(0)\n", three="import nowhere\n")
    status, lines = run(lanes)
    assert (status, lines[-1]) == (1, "1 passed, 2 failed")


def test_a_selection_that_leaves_nothing_fails(lanes: Path) -> None:
    write(lanes, one=PASSES)
    status, lines = run(lanes, "-k", "nothing_like_it")
    assert (status, lines[-1]) == (1, "0 passed, 0 failed")


def test_an_unknown_lane_lists_the_lanes(lanes: Path) -> None:
    write(lanes, one=PASSES, two=PASSES)
    status, lines = run(lanes, "three")
    assert (status, lines) == (1, ["Unknown lane three. The lanes are: one, two."])
