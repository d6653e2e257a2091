from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection

from dovetail_tenancy.row_security.policies import bypass_role
from tests.tenancy.documents.factories import make_document, make_organization

if find_spec("psycopg") is None:
    collect_ignore_glob = ["test_*.py"]

# psycopg may not be installed for other databases.
if connection.vendor == "postgresql":
    from psycopg import sql

    from tests.roles import administrator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if connection.vendor != "postgresql":
        skip = pytest.mark.skip(reason="row security is PostgreSQL's: set DATABASE_URL to a PostgreSQL database")
        for item in items:
            if __package__ in item.nodeid.replace("/", "."):
                item.add_marker(skip)


@pytest.fixture(params=["session", "transaction"])
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test in both modes of the backend, whatever the settings say."""
    monkeypatch.setattr(connection.row_security, "mode", request.param)
    # Discard the settings of the server sessions of the old mode.
    connection.close()
    return str(request.param)


@pytest.fixture
def acme(db: None) -> Any:
    organization = make_organization("Acme")
    make_document(organization, "a1")
    make_document(organization, "a2")
    return organization


@pytest.fixture
def globex(db: None) -> Any:
    organization = make_organization("Globex")
    make_document(organization, "g1")
    return organization


@pytest.fixture
def function(db: None) -> Iterator[str]:
    """Create a database function that reads every title."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE OR REPLACE FUNCTION all_titles() RETURNS SETOF text LANGUAGE sql STABLE AS "
            "'SELECT title::text FROM documents_document ORDER BY title'"
        )
    yield "all_titles"
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION IF EXISTS all_titles()")


@pytest.fixture
def admin_settings() -> dict[str, Any]:
    """Return the settings to connect as the administrator in DATABASE_URL."""
    return {**connection.settings_dict, "USER": urlsplit(os.environ["DATABASE_URL"]).username}


@pytest.fixture
def migration_role(db: None, admin_settings: dict[str, Any]) -> Iterator[None]:
    """Give the lane's role the inherited rights of the bypass role, like a role that migrates."""
    names = [sql.Identifier(name) for name in (bypass_role(), connection.settings_dict["USER"])]
    with administrator(admin_settings) as server:
        server.execute(sql.SQL("GRANT {} TO {}").format(*names))
        connection.row_security.forget()
        yield
        server.execute(sql.SQL("REVOKE {} FROM {}").format(*names))
        connection.row_security.forget()
