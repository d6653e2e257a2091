from __future__ import annotations

import pytest

pytest.importorskip("drf_spectacular", reason="drf-spectacular is not installed")

from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.validation import validate_schema
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from dovetail_flags.api.ofrep import EvaluationView


@pytest.fixture
def schema(monkeypatch):
    monkeypatch.setattr(APIView, "schema", AutoSchema())
    monkeypatch.setattr(api_settings, "DEFAULT_SCHEMA_CLASS", AutoSchema)
    assert EvaluationView.schema is None
    GENERATOR_STATS.reset()
    schema = SchemaGenerator().get_schema(request=None, public=True)
    validate_schema(schema)
    assert not [text for text in GENERATOR_STATS._error_cache | GENERATOR_STATS._warn_cache if "dovetail" in str(text)]
    return schema


def test_schema_has_features_and_administration_but_not_ofrep(schema):
    paths = schema["paths"]
    assert {path for path in paths if "ofrep" in path} == set()
    assert "/api/v1/features/" in paths
    assert set(paths["/admin-api/v1/features/{key}/"]) == {"get", "patch"}


def test_schema_describes_answers_and_preconditions(schema):
    paths = schema["paths"]
    features = paths["/api/v1/features/"]["get"]
    assert set(features["responses"]) == {"200", "304"}
    patch = paths["/admin-api/v1/features/{key}/"]["patch"]
    assert {"If-Match"} == {parameter["name"] for parameter in patch["parameters"] if parameter["in"] == "header"}
    for path in ("enable", "disable", "archive", "revert"):
        answer = paths[f"/admin-api/v1/features/{{key}}/{path}/"]["post"]["responses"]["200"]
        assert answer["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/FeatureFlag"}


def test_components_of_a_project_are_not_replaced(schema):
    prefixes = ("Feature", "PaginatedFeature", "PatchedFeature")
    assert [name for name in schema["components"]["schemas"] if not name.startswith(prefixes)] == []


def test_list_of_flags_documents_its_filters(schema):
    names = {parameter["name"] for parameter in schema["paths"]["/admin-api/v1/features/"]["get"]["parameters"]}
    assert {"filter[enabled]", "filter[stale]", "filter[archived]", "filter[tag]", "filter[owner]"} <= names
