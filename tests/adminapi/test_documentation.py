from __future__ import annotations

import json
from typing import Any

import pytest

from tests.adminapi.world import ADMIN, client, person

pytest.importorskip("drf_spectacular")
pytestmark = pytest.mark.django_db


@pytest.fixture
def document(db: None) -> dict[str, Any]:
    response = client(person("reader", "dovetail_adminapi.view_schema")).get(f"{ADMIN}schema")
    assert response.status_code == 200
    return json.loads(response.content)


def test_document_needs_its_permission() -> None:
    for path in ("schema", "docs"):
        assert client().get(ADMIN + path).status_code == 401
        assert client(person(path, "dovetail_adminapi.view_user")).get(ADMIN + path).status_code == 403


def test_document_holds_every_operation_that_somebody_may_call(document: dict[str, Any]) -> None:
    from dovetail_adminapi.api.operations import registry

    described = {(path.count("/"), method) for path, methods in document["paths"].items() for method in methods}
    # Of the section "schema" and of undeclared operations, nothing is described.
    hidden = {"schema.get", "docs.get"}
    listed = [item for item in registry() if item.operation.permission and item.operation.name not in hidden]
    assert described == {(item.path.count("/"), item.operation.method.lower()) for item in listed}
    assert sum(map(len, document["paths"].values())) == len(listed)


def test_operations_name_their_permission(document: dict[str, Any]) -> None:
    operation = document["paths"]["/admin/v1/users/{id}/deactivate"]["post"]
    assert operation["x-permission"] == "dovetail_adminapi.deactivate_user"
    assert operation["x-reauthenticate"] is True
    assert {"200", "204", "400", "401", "403", "404", "409", "415"} <= operation["responses"].keys()
    assert "put" not in document["paths"]["/admin/v1/groups/{id}"]


def test_other_documents_do_not_hold_the_admin_api() -> None:
    from drf_spectacular.generators import SchemaGenerator

    assert SchemaGenerator().get_schema(public=True)["paths"] == {}


def test_page_allows_scripts_of_one_source() -> None:
    reader = client(person("reader", "dovetail_adminapi.view_schema"))
    page = reader.get(f"{ADMIN}docs")
    assert b'spec-url="/admin/v1/schema"' in page.content
    policy = page.headers["Content-Security-Policy"]
    assert "script-src https://cdn.jsdelivr.net;" in policy
    assert "frame-ancestors 'none'" in policy
    refused = client().get(f"{ADMIN}docs").headers["Content-Security-Policy"]
    assert refused == "default-src 'none'; frame-ancestors 'none'"


def test_scripts_of_the_project_are_allowed_by_self() -> None:
    from dovetail_adminapi.contrib.documentation import policy

    assert "script-src 'self';" in policy("/static/redoc.js")
