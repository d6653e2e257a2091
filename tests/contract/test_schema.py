"""The OpenAPI document describes every response."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("drf_spectacular", reason="drf-spectacular is not installed")

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema


@pytest.fixture(scope="module")
def document() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        # drf-spectacular warns about views without serializers.
        patch.setattr("drf_spectacular.openapi.error", lambda *args, **kwargs: None)
        patch.setattr("drf_spectacular.openapi.warn", lambda *args, **kwargs: None)
        generated = SchemaGenerator().get_schema(request=None, public=True)
    return json.loads(json.dumps(generated, default=str))


def test_document_is_valid(document: Any) -> None:
    validate_schema(document)


def test_operations_refer_to_shared_errors(document: Any) -> None:
    for path, item in document["paths"].items():
        for operation in item.values():
            for status in ("400", "401", "429", "500", "503"):
                response = operation["responses"][status]
                assert set(response) == {"$ref"}, (path, status)
    post = document["paths"]["/api/set"]["post"]
    assert set(post["responses"]) >= {"201", "409", "413", "415", "422"}
    assert "404" in document["paths"]["/api/set/{id}"]["get"]["responses"]


def test_references_resolve_and_components_are_used(document: Any) -> None:
    from dovetail_contract.schema.hooks import _references

    used = set(_references(document))
    there = {f"#/components/{kind}/{name}" for kind, found in document["components"].items() for name in found}
    assert used <= there
    assert {each for each in there - used if "securitySchemes" not in each} == set()


def test_lists_share_meta_and_parameters(document: Any) -> None:
    items = document["paths"]["/api/items"]["get"]
    names = [each["$ref"].rpartition("/")[2] for each in items["parameters"] if "$ref" in each]
    assert {"Cursor", "Limit"} <= set(names)
    assert "filter[kind]" in {each.get("name") for each in items["parameters"]}
    assert document["components"]["schemas"]["PageMeta"]["required"] == ["next", "prev", "total"]
    assert "Link" in items["responses"]["200"]["headers"]
    assert "Preference-Applied" in items["responses"]["200"]["headers"]
    assert {"Page", "Prefer"} & set(names) == {"Prefer"}
    numbered = document["paths"]["/api/numbered/items"]["get"]["parameters"]
    assert {"$ref": "#/components/parameters/Page"} in numbered
    assert document["components"]["parameters"]["Page"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 10000}
    limited = document["paths"]["/api/limited"]["get"]["responses"]["200"]["headers"]
    assert "RateLimit" in limited


def test_idempotency_key_is_described_where_accepted(document: Any) -> None:
    def takes(path: str, method: str = "post") -> bool:
        parameters = document["paths"][path][method].get("parameters", [])
        return {"$ref": "#/components/parameters/IdempotencyKey"} in parameters

    assert takes("/api/set")
    assert takes("/api/set/{id}", "put")
    assert not takes("/api/deaf")
    assert not takes("/api/orders")  # anonymous
    assert not takes("/api/set", "get")


def test_deprecated_operations_are_marked(document: Any) -> None:
    old = document["paths"]["/api/old"]["get"]
    assert old["deprecated"] is True
    assert "Sunset" in old["responses"]["200"]["headers"]
    assert "410" in old["responses"]
    ageing = {**document["paths"]["/api/ageing"], **document["paths"]["/api/ageing/{id}"]}
    marked = {
        method for method, operation in document["paths"]["/api/ageing/{id}"].items() if "deprecated" in operation
    }
    assert marked == {"put"}
    assert document["paths"]["/api/ageing"]["get"]["deprecated"] is True
    assert "deprecated" not in ageing["post"]


def test_tags_and_operations_are_described(document: Any) -> None:
    told = {tag["name"] for tag in document["tags"] if tag["description"]}
    for item in document["paths"].values():
        for operation in item.values():
            assert set(operation["tags"]) <= told
            assert operation["summary"]


def test_examples_match_their_schemas(document: Any) -> None:
    import jsonschema

    checked = 0
    for item in document["paths"].values():
        for operation in item.values():
            for response in [*operation["responses"].values(), operation.get("requestBody", {})]:
                for body in response.get("content", {}).values():
                    resolved = {**body["schema"], "components": document["components"]}
                    example = body["example"]
                    jsonschema.Draft4Validator(json.loads(json.dumps(resolved).replace("nullable", "x-n"))).validate(
                        _without_nulls(example)
                    )
                    checked += 1
    assert checked > 3


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def test_errors_match_their_schema(document: Any, client: Any) -> None:
    import jsonschema

    schema = {**document["components"]["schemas"]["Problem"], "components": document["components"]}
    for path in ("/api/nowhere", "/api/items?limit=x", "/api/fail/throttled"):
        jsonschema.Draft4Validator(schema).validate(client.get(path).json())


def test_missing_page_is_described() -> None:
    from django.urls import path
    from drf_spectacular.drainage import GENERATOR_STATS
    from rest_framework.pagination import PageNumberPagination

    from tests.contract.shop.views import ItemListView

    class Numbered(ItemListView):
        pagination_class = PageNumberPagination

    urls = [path("api/numbered", Numbered.as_view()), path("api/items", ItemListView.as_view())]
    with GENERATOR_STATS.silence():
        paths = SchemaGenerator(patterns=urls).get_schema(request=None, public=True)["paths"]
    assert "404" in paths["/api/numbered"]["get"]["responses"]
    assert "404" not in paths["/api/items"]["get"]["responses"]
