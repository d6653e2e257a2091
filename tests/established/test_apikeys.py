"""API keys in the established project, owned by its own user model."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.established.installation import MIGRATE, Installation
from tests.established.packages import PARTS, settings, urls
from tests.established.test_established import CHECK, DRIFT


def test_it_asks_for_three_settings_and_one_include() -> None:
    assert len(ast.parse(PARTS["apikeys"].SETTINGS).body) == 3
    assert PARTS["apikeys"].URLS.count("include(") == 1


@pytest.mark.parametrize("server", [None, "POSTGRES_SERVER", "MARIADB_SERVER"])
def test_keys_of_the_projects_people(
    install: Callable[[str, str | None], Installation],
    wheels: dict[str, Path],
    server: str | None,
) -> None:
    if server is not None and server not in os.environ:
        pytest.skip(f"{server} names no server, such as postgres://postgres@127.0.0.1:5432")
    project = install("6.1", os.environ[server] if server else None)
    tables = project.begin()
    project.install(wheels["core"], wheels["apikeys"])
    of_users = settings("apikeys").replace("companies.Company", "accounts.User")
    project.write("with_packages.py", of_users)
    project.write("with_packages_urls.py", urls("apikeys"))
    project.settings = "with_packages"
    project.run(CHECK, *MIGRATE, DRIFT, "session", "apikeys_of_users", "test")
    everywhere = '\nAPI_KEYS_ACCEPT = "everywhere"\n'
    project.write("with_packages.py", of_users + everywhere)
    assert project.tables(CHECK, "test", "migrate dovetail_apikeys zero") == tables
