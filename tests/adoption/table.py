"""Prints what each project adopts at which cost: ``python -m tests.adoption.table [project …]``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.adoption.adopting import PROJECTS, Project, Wheels, sets


def main(names: list[str]) -> int:
    failed = False
    print("| project | packages | lines of settings | seconds of CPU | |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        wheels = Wheels(Path(scratch) / "wheels")
        for name in names or PROJECTS:
            folder = Path(scratch) / name
            folder.mkdir()
            project = Project(name, folder, wheels)
            print(f"| {name} | none | 0 | {project.seconds:.1f} | its own tests pass |", flush=True)
            for packages in sets(name):
                label = packages[0] if len(packages) == 1 else "all"
                try:
                    adoption = project.adopt(packages, folder / label)
                except AssertionError as error:
                    failed = True
                    reason = str(error).strip().splitlines()[-1].replace("|", r"\|")
                    print(f"| {name} | {label} | | | failed: {reason} |", flush=True)
                else:
                    cost = f"{adoption.settings} | {adoption.seconds:.1f}"
                    print(f"| {name} | {label} | {cost} | works, leaves |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
