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

# psycopg is installed where there is a PostgreSQL to connect to.
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
    """Both modes of the backend, whatever the settings say."""
    monkeypatch.setattr(connection.row_security, "mode", request.param)
    # What was set for the old one's sessions goes with them.
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
    """A function of the database that reads every title."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE OR REPLACE FUNCTION all_titles() RETURNS SETOF text LANGUAGE sql STABLE AS "
            "'SELECT title::text FROM documents_document ORDER BY title'"
        )
    yield "all_titles"
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION IF EXISTS all_titles()")


@pytest.fixture
def given() -> dict[str, Any]:
    """The database as its administrator, whom DATABASE_URL names, is connected."""
    return {**connection.settings_dict, "USER": urlsplit(os.environ["DATABASE_URL"]).username}


@pytest.fixture
def migration_role(db: None, given: dict[str, Any]) -> Iterator[None]:
    """The lane's role as one that migrates: it has the bypass role's rights without becoming it."""
    names = [sql.Identifier(name) for name in (bypass_role(), connection.settings_dict["USER"])]
    with administrator(given) as server:
        server.execute(sql.SQL("GRANT {} TO {}").format(*names))
        connection.row_security.forget()
        yield
        server.execute(sql.SQL("REVOKE {} FROM {}").format(*names))
        connection.row_security.forget()
