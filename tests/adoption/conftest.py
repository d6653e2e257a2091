from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from tests.adoption.adopting import Project, Wheels


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Project]:
    """The project of a name, whose own tests have passed without any package."""
    wheels = Wheels(tmp_path_factory.mktemp("wheels"))
    return cache(lambda name: Project(name, tmp_path_factory.mktemp(name), wheels))
