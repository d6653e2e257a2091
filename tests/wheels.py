"""The built wheels, and processes that run management commands of a project with them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests import forking

ROOT = Path(__file__).resolve().parents[1]
UV = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))

# Starting Python and Django takes most of a management command's time.
STEPS = """
import runpy, sys
import django
from django.core.management import execute_from_command_line
for step in sys.argv[1:]:
    if step.endswith(".py"):
        django.setup()
        runpy.run_path(step)
    else:
        execute_from_command_line(["manage.py", *step.split()])
"""


def build(packages: Iterable[str], folder: Path) -> dict[str, Path]:
    """The wheel of each package in ``packages``, by its short name (``apikeys``)."""
    for package in packages:
        command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
        run(command, ROOT / "packages" / package)
    return {path.name.split("-")[0].removeprefix("dovetail_"): path for path in folder.glob("*.whl")}


def run_steps(
    interpreter: Sequence[object], steps: Sequence[str], folder: Path, environment: dict[str, str], prelude: str = ""
) -> str:
    """Run ``STEPS`` after ``prelude``, in a process that has imported Django before."""
    command = [str(part) for part in interpreter]
    return _output(forking.run(command, "-c", prelude + STEPS, *steps, cwd=folder, env=environment))


def run(command: Sequence[object], folder: Path | None = None, environment: dict[str, str] | None = None) -> str:
    finished = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return _output(finished)


def _output(finished: subprocess.CompletedProcess[str]) -> str:
    assert finished.returncode == 0, f"{finished.args}\n{finished.stdout}\n{finished.stderr}"
    return finished.stdout
