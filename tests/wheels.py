"""The built wheels, and processes that run management commands of a project with them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

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
    assert finished.returncode == 0, f"{command}\n{finished.stdout}\n{finished.stderr}"
    return finished.stdout
