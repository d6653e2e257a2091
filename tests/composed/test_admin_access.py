"""Who may call each operation of the admin API, compared with ``admin_access.json``.

``ADMIN_ACCESS=write python -m tests composed -k admin_access`` writes the file in place of comparing it.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from dovetail_adminapi.api.operations import ANY
from dovetail_adminapi.contrib.spectacular import AdminSchemaGenerator
from dovetail_adminapi.testing import assert_admin_closed, permission_matrix
from dovetail_apikeys.testing import api_key_client
from tests.composed import factories
from tests.composed.admin_world import ISSUER, UNLISTED, bearer, provided, staff
from tests.composed.test_admin_api import provider  # noqa: F401  # a fixture

pytestmark = pytest.mark.django_db

SNAPSHOT = Path(__file__).with_name("admin_access.json")
CLOSED = {401, 403, 404}
#: The views of the documentation, which the document itself does not describe.
UNDESCRIBED = {"GET /admin/v1/schema", "GET /admin/v1/docs"}


def status_of(client: APIClient, name: str) -> int:
    """Send a request whose body is refused after the permission, so that no call changes anything."""
    method, path = name.split(" ")
    sent = {} if method in {"GET", "DELETE"} else {"data": "x", "content_type": "text/plain"}
    url = re.sub(r"{\w+}", "00000000-0000-7000-8000-000000000000", path)
    return int(client.generic(method, url, **sent).status_code)


def is_open(status: int, method: str) -> bool:
    # A caller with the permission gets 415 for the body of a write, and 404 only for objects that do not exist.
    return status not in {401, 403}


def described() -> set[str]:
    document: dict[str, Any] = AdminSchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    names = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    return {re.sub(r"{\w+}", "{}", name) for name in names}


@pytest.fixture
def matrix() -> dict[str, dict[str, Any]]:
    return permission_matrix()


def test_schema_describes_every_operation(matrix):
    assert described() | UNDESCRIBED == {re.sub(r"{\w+}", "{}", name) for name in matrix} | UNDESCRIBED
    assert len(matrix) > 40


def test_operations_and_their_permissions_are_those_of_the_snapshot(matrix):
    if os.environ.get("ADMIN_ACCESS") == "write":
        SNAPSHOT.write_text(json.dumps(matrix, indent=2) + "\n")
    assert matrix == json.loads(SNAPSHOT.read_text())


def test_nothing_is_open_without_a_permission(matrix, organization, owner):
    callers = {
        "anonymous": APIClient(),
        "customer": bearer(owner),
        "customer with a claim of roles": bearer(owner, roles=["ops", "support"], iss=ISSUER),
        "API key": api_key_client(organization, scopes=["customers:read", "audit:read"]),
        "staff": bearer(staff()),
        "role of an unlisted issuer": provided(owner, UNLISTED, realm_access={"roles": ["ops"]}),
    }
    answers = {(caller, name): status_of(client, name) for caller, client in callers.items() for name in matrix}
    assert {key: status for key, status in answers.items() if status not in CLOSED} == {}


def test_each_permission_opens_its_operations_and_no_others(matrix):
    permissions = sorted({row["permission"] for row in matrix.values()} - {ANY})
    opened: dict[str, set[str]] = {}
    for permission in permissions:
        client = bearer(staff(permission))
        opened[permission] = {name for name in matrix if is_open(status_of(client, name), name)}
    declared = {
        permission: {name for name, row in matrix.items() if row["permission"] in (permission, ANY)}
        for permission in permissions
    }
    assert opened == declared


@pytest.mark.parametrize("role", ["ops", "support"])
def test_roles_of_a_listed_issuer_open_their_operations(provider, matrix, role):  # noqa: F811
    client = provided(factories.user(), realm_access={"roles": [role]})
    opened = {name for name in matrix if is_open(status_of(client, name), name)}
    declared = {name for name, row in matrix.items() if role in row["roles"]}
    # The URLconf of this fixture is not the one of the matrix, whose documentation asks for any permission.
    assert opened - UNDESCRIBED == declared - UNDESCRIBED


def test_every_route_and_method_is_closed_by_the_kit():
    assert_admin_closed()
