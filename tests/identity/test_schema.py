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


@pytest.fixture
def schema(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(APIView, "schema", AutoSchema())
    monkeypatch.setattr(api_settings, "DEFAULT_SCHEMA_CLASS", AutoSchema)
    GENERATOR_STATS.reset()
    schema: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    assert not GENERATOR_STATS
    validate_schema(schema)
    return schema


def _shape(schema: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    name = reference["$ref"].rsplit("/", 1)[1]
    shape: dict[str, Any] = schema["components"]["schemas"][name]
    return shape


@pytest.mark.parametrize(
    ("path", "sent", "answered"),
    [
        ("token", {"email", "password"}, {"access", "refresh"}),
        ("refresh", {"refresh"}, {"access", "refresh"}),
        ("verify", {"token"}, set()),
    ],
)
def test_schema_of_sign_in_matches_requests_and_responses(
    schema: dict[str, Any], path: str, sent: set[str], answered: set[str]
) -> None:
    operation = schema["paths"][f"/api/auth/jwt/{path}/"]["post"]
    body = _shape(schema, operation["requestBody"]["content"]["application/json"]["schema"])
    answer = operation["responses"]["200"]
    properties = body["properties"]
    assert {name for name, each in properties.items() if not each.get("readOnly")} == sent
    if answered:
        assert _shape(schema, answer["content"]["application/json"]["schema"]) == body
    assert {name for name, each in properties.items() if not each.get("writeOnly")} == answered
    assert operation["security"] == [{}]


def test_schema_of_the_account_matches_the_responses(schema: dict[str, Any]) -> None:
    me = schema["paths"]["/api/v1/me/"]
    assert set(me) == {"get", "patch", "delete"}
    assert set(me["delete"]["responses"]) == {"204"}
    user = _shape(schema, me["get"]["responses"]["200"]["content"]["application/json"]["schema"])
    assert user["properties"]["id"] == {"type": "string", "format": "uuid", "readOnly": True}
    assert {name for name, each in user["properties"].items() if not each.get("readOnly")} == {
        "first_name",
        "last_name",
        "avatar_url",
        "phone_number",
        "language",
        "time_zone",
    }
    assert user["properties"]["language"]["maxLength"] == 35
    assert "IANA" in user["properties"]["time_zone"]["description"]
    assert {"jwtAuth": []} in me["get"]["security"]
    assert schema["components"]["securitySchemes"]["jwtAuth"]["scheme"] == "bearer"
