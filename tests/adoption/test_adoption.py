"""The lines of the READMEs, appended to projects that have what broke the packages elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.adoption.adopting import PROJECTS, Project, sets
from tests.wheels import ROOT

CASES = [(name, packages) for name in PROJECTS for packages in sets(name)]


@pytest.mark.parametrize(("name", "packages"), CASES, ids=[f"{name}-{'+'.join(some)}" for name, some in CASES])
def test_project_adopts_and_leaves_packages_by_their_readmes(
    project: Callable[[str], Project], name: str, packages: tuple[str, ...], tmp_path: Path
) -> None:
    project(name).adopt(packages, tmp_path / name)


def test_every_project_is_adopted() -> None:
    folders = {path.name for path in (ROOT / "tests/projects").iterdir() if (path / "manage.py").exists()}
    assert folders - {"established"} == set(PROJECTS)
