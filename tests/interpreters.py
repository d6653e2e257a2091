"""Finds Python interpreters on PATH and where pyenv keeps them: ``python -m tests.interpreters 3.11 3.12``.

Prints one path a line; with a version missing it names that, prints what to do, and exits with 1.
Standard library only, for it also serves tox and CI before anything is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path


def search_path() -> str:
    """PATH with pyenv's interpreters, newest first, in place of its shims.

    A shim stands for every version that is installed, and fails for those that are not the active one.
    """
    root = _pyenv_root()
    found = os.environ.get("PATH", os.defpath).split(os.pathsep)
    if root is None:
        return os.pathsep.join(found)
    versions = sorted((path for path in root.glob("versions/3.*") if _numbers(path) >= [3, 11]), key=_numbers)
    kept = [directory for directory in found if Path(directory) != root / "shims"]
    return os.pathsep.join([*(str(path / "bin") for path in reversed(versions)), *kept])


def find(version: str) -> Path | None:
    """The interpreter of ``version`` (``3.12``), or None."""
    executable = shutil.which(f"python{version}", path=search_path())
    return Path(executable) if executable else None


def _pyenv_root() -> Path | None:
    if root := os.environ.get("PYENV_ROOT"):
        return Path(root)
    if shutil.which("pyenv"):
        return Path(subprocess.run(["pyenv", "root"], check=True, capture_output=True, text=True).stdout.strip())
    return None


def _numbers(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", path.name)]


def main(versions: list[str]) -> int:
    found = {version: find(version) for version in versions}
    for path in filter(None, found.values()):
        print(path)
    missing = [version for version, path in found.items() if path is None]
    for version in missing:
        message = f"Python {version} is missing: neither on PATH nor among pyenv's versions (pyenv install {version})."
        print(message, file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
