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
    # The views of this lane do not describe their responses.
    for view in (views.Plain, views.Orders):
        monkeypatch.setattr(view, "serializer_class", None, raising=False)
    GENERATOR_STATS.reset()
    schema: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    validate_schema(schema)
    return schema


def test_schema_lists_scopes_and_required_scopes(schema: dict[str, Any]) -> None:
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


def test_schema_describes_requests_and_responses(schema: dict[str, Any]) -> None:
    assert not [text for text in GENERATOR_STATS._error_cache | GENERATOR_STATS._warn_cache if "dovetail" in str(text)]

    def operation(path: str, method: str) -> Any:
        return schema["paths"][f"/api/api-keys/{path}"][method]

    def properties(content: Any) -> set[str]:
        name = content["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
        return set(schema["components"]["schemas"][name]["properties"])

    new_key = properties(operation("", "post")["responses"]["201"])
    assert properties(operation("{api_key_id}/rotate/", "post")["responses"]["201"]) == new_key
    assert new_key - properties(operation("{api_key_id}/", "get")["responses"]["200"]) == {"key"}
    assert properties(operation("{api_key_id}/rotate/", "post")["requestBody"]) == {"grace", "expires_at"}
    assert set(operation("{api_key_id}/revoke/", "post")["responses"]) == {"204"}
    assert "requestBody" not in operation("{api_key_id}/revoke/", "post")
    assert set(operation("{api_key_id}/", "delete")["responses"]) == {"204"}
    assert {parameter["name"] for parameter in operation("", "get")["parameters"]} == {"cursor", "limit"}
