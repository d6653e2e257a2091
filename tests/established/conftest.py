from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.established.installation import DRIVERS, PYTHONS, Environment, Installation
from tests.established.packages import PARTS
from tests.interpreters import find
from tests.wheels import build


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build(("core", *PARTS), tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Environment]:
    """One virtual environment for each Django version and database driver. SQLite's has no driver of a server."""

    @cache
    def make(django: str, scheme: str) -> Environment:
        interpreter = next(filter(None, map(find, PYTHONS[django])), None)
        if interpreter is None:
            pytest.skip(f"Django {django} needs one of Python {', '.join(PYTHONS[django])}")
        return Environment(tmp_path_factory.mktemp("venv"), interpreter, django, DRIVERS.get(scheme, []))

    return make


@pytest.fixture
def install(
    tmp_path: Path, environment: Callable[[str, str], Environment]
) -> Iterator[Callable[[str, str | None], Installation]]:
    installations: list[Installation] = []

    def make(django: str, server: str | None) -> Installation:
        used = environment(django, (server or "").partition(":")[0])
        used.clean()
        installations.append(Installation(tmp_path, used, server))
        installations[0].drop_databases()
        installations[0].make_databases()
        return installations[0]

    yield make
    for installation in installations:
        installation.drop_databases()
