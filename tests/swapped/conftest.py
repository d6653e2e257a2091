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
            _server("DROP DATABASE IF EXISTS {}", "CREATE DATABASE {}", name=project.database_name())
        return project

    yield make
    if os.environ.get("DATABASE_URL"):
        for project in made:
            _server("DROP DATABASE IF EXISTS {}", name=project.database_name())


def _server(*statements: str, name: str) -> None:
    server: dict[str, Any] = databases()["default"]
    if server["ENGINE"].endswith("mysql"):
        _mariadb(server, [statement.format(f"`{name}`") for statement in statements])
        return
    import psycopg

    with psycopg.connect(
        host=server["HOST"],
        port=server["PORT"] or None,
        user=server["USER"],
        password=server["PASSWORD"],
        dbname="postgres",
        autocommit=True,
    ) as connection:
        for statement in statements:
            connection.execute(statement.format(f'"{name}"'))


def _mariadb(server: dict[str, Any], statements: list[str]) -> None:
    import pymysql

    connection = pymysql.connect(
        host=server["HOST"], port=int(server["PORT"] or 3306), user=server["USER"], password=server["PASSWORD"]
    )
    with connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
