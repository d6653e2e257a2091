from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("drf_spectacular", reason="drf-spectacular is not installed")

from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.validation import validate_schema
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from tests.apikeys.firms import views

pytestmark = pytest.mark.django_db


@pytest.fixture
def schema(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(APIView, "schema", AutoSchema())
    monkeypatch.setattr(api_settings, "DEFAULT_SCHEMA_CLASS", AutoSchema)
    # The lane's own views say nothing of their answers.
    for view in (views.Plain, views.Orders):
        monkeypatch.setattr(view, "serializer_class", None, raising=False)
    GENERATOR_STATS.reset()
    schema: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    validate_schema(schema)
    return schema


def test_the_scheme_names_the_scopes_and_operations_ask_for_theirs(schema: dict[str, Any]) -> None:
    scheme = schema["components"]["securitySchemes"]["apiKeyAuth"]
    assert (scheme["type"], scheme["scheme"], scheme["bearerFormat"]) == ("http", "bearer", "dvt_live_…")
    assert "`X-API-Key`" in scheme["description"]
    assert "- `orders:read`: Read orders" in scheme["description"]
    paths = schema["paths"]
    assert {"apiKeyAuth": ["orders:read"]} in paths["/orders/"]["get"]["security"]
    assert {"apiKeyAuth": ["orders:write"]} in paths["/orders/"]["post"]["security"]
    assert {"apiKeyAuth": []} in paths["/plain/"]["get"]["security"]
    keys = paths["/api/api-keys/"]
    assert {"apiKeyAuth": ["api_keys:read"]} in keys["get"]["security"]
    assert {"apiKeyAuth": ["api_keys:write"]} in keys["post"]["security"]


def test_the_endpoints_are_described_as_they_answer(schema: dict[str, Any]) -> None:
    assert not [each for each in GENERATOR_STATS._error_cache | GENERATOR_STATS._warn_cache if "dovetail" in str(each)]

    def operation(path: str, method: str) -> Any:
        return schema["paths"][f"/api/api-keys/{path}"][method]

    def properties(described: Any) -> set[str]:
        name = described["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
        return set(schema["components"]["schemas"][name]["properties"])

    made = properties(operation("", "post")["responses"]["201"])
    assert properties(operation("{api_key_id}/rotate/", "post")["responses"]["201"]) == made
    assert made - properties(operation("{api_key_id}/", "get")["responses"]["200"]) == {"key"}
    assert properties(operation("{api_key_id}/rotate/", "post")["requestBody"]) == {"grace", "expires_at"}
    assert set(operation("{api_key_id}/revoke/", "post")["responses"]) == {"204"}
    assert "requestBody" not in operation("{api_key_id}/revoke/", "post")
    assert set(operation("{api_key_id}/", "delete")["responses"]) == {"204"}
    assert {each["name"] for each in operation("", "get")["parameters"]} == {"cursor", "limit"}
