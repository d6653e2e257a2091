"""Runs one cell of the matrix inside its environment: ``python -m tests.cell ENVIRONMENT [arguments for the lanes]``.

Installs the wheels from ``dist/`` (all of them, or those of ``alone-PACKAGE-…`` and core), because a wheel that was
built again under its version must be put in place again. Then runs the lanes of the cell: at the oldest versions every
test, elsewhere those that start no process, because their outcome does not depend on the pair of Python and Django.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST = "py311-dj52"
NOT_PROCESS = ["-m", "not process"]


def main(environment: str, *arguments: str) -> int:
    alone = environment.split("-")[1] if environment.startswith("alone-") else None
    wheels = sorted(
        path for path in (ROOT / "dist").glob("dovetail_*.whl") if alone is None or package_of(path) in {alone, "core"}
    )
    if not wheels:
        sys.exit("There is no wheel in dist/. Build them first: tox run -e dist, or make build.")
    names = (f"--reinstall-package=dovetail-{package_of(path)}" for path in wheels)
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable, *names]
    subprocess.run([*install, *map(str, wheels)], check=True)
    lanes = list(arguments) or default_lanes(environment, alone)
    return subprocess.run([sys.executable, "-m", "tests", *lanes], cwd=ROOT, check=False).returncode


def default_lanes(environment: str, alone: str | None) -> list[str]:
    if alone is not None:
        return [alone, *NOT_PROCESS]
    if environment == OLDEST:
        return ["packages", "packaging"]
    # The composition runs with the oldest and with the newest Django.
    return ["packages", *(["composed"] if environment.endswith("-dj61") else []), *NOT_PROCESS]


def package_of(wheel: Path) -> str:
    return wheel.name.split("-")[0].removeprefix("dovetail_")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
