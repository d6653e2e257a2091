"""The document: what is answered is described, by the objects that answer it."""

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
        # Views here answer without serializers, which drf-spectacular has a word about.
        patch.setattr("drf_spectacular.openapi.error", lambda *args, **kwargs: None)
        patch.setattr("drf_spectacular.openapi.warn", lambda *args, **kwargs: None)
        generated = SchemaGenerator().get_schema(request=None, public=True)
    return json.loads(json.dumps(generated, default=str))


def test_it_is_valid(document: Any) -> None:
    validate_schema(document)


def test_every_operation_describes_its_errors_by_reference(document: Any) -> None:
    for path, item in document["paths"].items():
        for operation in item.values():
            for status in ("400", "401", "429", "500", "503"):
                response = operation["responses"][status]
                assert set(response) == {"$ref"}, (path, status)
    post = document["paths"]["/api/set"]["post"]
    assert set(post["responses"]) >= {"201", "409", "413", "415", "422"}
    assert "404" in document["paths"]["/api/set/{id}"]["get"]["responses"]


def test_every_reference_leads_somewhere_and_every_component_is_used(document: Any) -> None:
    from dovetail_contract.schema.hooks import _references

    used = set(_references(document))
    there = {f"#/components/{kind}/{name}" for kind, found in document["components"].items() for name in found}
    assert used <= there
    assert {each for each in there - used if "securitySchemes" not in each} == set()


def test_lists_share_their_meta_and_their_parameters(document: Any) -> None:
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


def test_keys_are_described_where_they_are_heeded(document: Any) -> None:
    def takes(path: str, method: str = "post") -> bool:
        parameters = document["paths"][path][method].get("parameters", [])
        return {"$ref": "#/components/parameters/IdempotencyKey"} in parameters

    assert takes("/api/set")
    assert takes("/api/set/{id}", "put")
    assert not takes("/api/deaf")
    assert not takes("/api/orders")  # of nobody
    assert not takes("/api/set", "get")


def test_what_will_go_is_marked(document: Any) -> None:
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


def test_every_tag_has_a_description_and_every_operation_a_summary(document: Any) -> None:
    told = {tag["name"] for tag in document["tags"] if tag["description"]}
    for item in document["paths"].values():
        for operation in item.values():
            assert set(operation["tags"]) <= told
            assert operation["summary"]


def test_examples_are_valid_by_their_schemas(document: Any) -> None:
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


def test_an_error_is_as_it_is_described(document: Any, client: Any) -> None:
    import jsonschema

    schema = {**document["components"]["schemas"]["Problem"], "components": document["components"]}
    for path in ("/api/nowhere", "/api/items?limit=x", "/api/fail/throttled"):
        jsonschema.Draft4Validator(schema).validate(client.get(path).json())
