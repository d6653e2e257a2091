from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.databases import databases
from tests.swapped.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Callable[..., Project]]:
    """Makes a project with an empty database of its own, on the server that ``DATABASE_URL`` names or in a file."""
    made: list[Project] = []

    def make(apps: dict[str, str], settings: str = "") -> Project:
        project = Project(tmp_path, apps, settings)
        made.append(project)
        if os.environ.get("DATABASE_URL"):
            _server(
                f'DROP DATABASE IF EXISTS "{project.database_name()}"', f'CREATE DATABASE "{project.database_name()}"'
            )
        return project

    yield make
    if os.environ.get("DATABASE_URL"):
        for project in made:
            _server(f'DROP DATABASE IF EXISTS "{project.database_name()}"')


def _server(*statements: str) -> None:
    import psycopg

    server: dict[str, Any] = databases()["default"]
    with psycopg.connect(
        host=server["HOST"],
        port=server["PORT"] or None,
        user=server["USER"],
        password=server["PASSWORD"],
        dbname="postgres",
        autocommit=True,
    ) as connection:
        for statement in statements:
            connection.execute(statement)
