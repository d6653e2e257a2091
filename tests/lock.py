"""Reads requirements.txt, the versions and hashes that everything installs.

``python -m tests.lock --without django`` prints it without an entry. The matrix needs that, because uv applies
constraints after overrides: ``Django>=5.2,<5.3`` conflicts with the version of Django in the lock.
Standard library only, for tox and CI read it before anything is installed.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "requirements.txt"
# An entry ends with the first line that does not continue.
ENTRY = re.compile(r"^(?P<requirement>(?P<name>[a-z0-9-]+)==.+?) \\\n(?:.*\\\n)*.*\n", re.MULTILINE)


def requirements(lock: str) -> list[str]:
    """The pinned requirements with their markers, without hashes."""
    return [entry["requirement"] for entry in ENTRY.finditer(lock)]


def without(names: Collection[str], lock: str) -> str:
    """The lock without the entries of the packages ``names``, which are normalized names."""
    return ENTRY.sub(lambda entry: "" if entry["name"] in names else entry[0], lock)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.lock")
    parser.add_argument("--without", action="append", default=[], metavar="NAME")
    print(without(parser.parse_args().without, LOCK.read_text()), end="")
