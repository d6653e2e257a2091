"""Each kind of mismatch is reported, and valid exchanges pass."""

from __future__ import annotations

import json
import re
import unittest
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, SimpleTestCase
from rest_framework.response import Response
from rest_framework.test import APIClient

from dovetail_contract.testing import (
    AsyncSchemaClient,
    Exchange,
    Schema,
    SchemaClient,
    SchemaMismatch,
    SchemaRules,
    SchemaTestMixin,
    held_to_schema,
    unchecked,
)
from dovetail_contract.testing import schemas as schemas_module

THING = {
    "id": "019aa6a5-c0de-7f00-b5d5-a1b2c3d4e5f6",
    "at": "2026-11-24T12:00:00.123456Z",
    "mail": "ada@example.com",
    "link": "https://example.com/a?b=%20#c",
    "note": None,
    "count": 2,
    "color": "red",
    "tree": {"name": "root", "children": [{"name": "leaf", "children": []}]},
    "pet": {"kind": "cat", "lives": 9},
    "both": {"one": 1, "two": 2},
    "free": {"whatever": [1, {}]},
    "either": "text",
}


def document(version: str) -> dict[str, Any]:
    def null(schema: dict[str, Any]) -> dict[str, Any]:
        if version.startswith("3.0"):
            return {**schema, "nullable": True}
        return {"anyOf": [schema, {"type": "null"}]}

    text = {"type": "string"}
    one = {"type": "object", "properties": {"one": {"type": "integer"}}, "required": ["one"]}
    above = {"minimum": 0, "exclusiveMinimum": True} if version.startswith("3.0") else {"exclusiveMinimum": 0}
    thing = {
        "type": "object",
        "required": [*THING, "password"],
        "properties": {
            "id": {"type": "string", "format": "uuid", "readOnly": True},
            "at": {"type": "string", "format": "date-time"},
            "mail": {"type": "string", "format": "email"},
            "link": {"type": "string", "format": "uri"},
            "note": null(text),
            "count": {"type": "integer", **above},
            "color": null({"type": "string", "enum": ["red", "blue"]}),
            "password": {"type": "string", "writeOnly": True},
            "tree": {"$ref": "#/components/schemas/Tree"},
            "pet": {"$ref": "#/components/schemas/Pet"},
            "both": {
                "allOf": [{"$ref": "#/components/schemas/One"}, {"properties": {"two": {"type": "integer"}}}],
            },
            "free": {"type": "object", "additionalProperties": {}},
            "either": {"oneOf": [{"type": "integer"}, {"type": "string", "maxLength": 9}]},
        },
    }
    tree = {
        "type": "object",
        "required": ["name", "children"],
        "properties": {"name": text, "children": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}},
    }
    cat = {"type": "object", "required": ["lives"], "properties": {"kind": text, "lives": {"type": "integer"}}}
    pet = {
        "oneOf": [{"$ref": "#/components/schemas/Cat"}, {"$ref": "#/components/schemas/Animal"}],
        "discriminator": {
            "propertyName": "kind",
            "mapping": {"cat": "#/components/schemas/Cat", "animal": "#/components/schemas/Animal"},
        },
    }
    animal = {"type": "object", "properties": {"kind": text}}
    body = {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}
    number = {"required": True, "schema": {"type": "integer"}}
    responses = {
        "200": {"content": body, "headers": {"X-Count": number, "X-More": {"schema": {"type": "boolean"}}}},
        "204": {"description": "Nothing."},
        "4XX": {"$ref": "#/components/responses/Problem"},
    }
    problem = {"application/problem+json": {"schema": {"type": "object", "required": ["type"]}}}
    return {
        "openapi": version,
        "servers": [{"url": "https://api.example.com/base/"}],
        "paths": {
            "/things": {"post": {"requestBody": {"content": body}, "responses": responses}},
            "/things/{id}": {"get": {"operationId": "by_id", "responses": {"200": {"content": body}}}},
            "/things/mine": {"get": {"operationId": "mine", "responses": {"204": {}}}},
            "/files/{path}": {"get": {"responses": {"default": {"content": {"image/*": {}}}}}},
        },
        "components": {
            "schemas": {"Thing": thing, "Tree": tree, "One": one, "Cat": cat, "Pet": pet, "Animal": animal},
            "responses": {"Problem": {"content": problem}},
        },
    }


@pytest.fixture(scope="module", params=["3.0.3", "3.1.0"])
def schema(request: Any) -> Schema:
    return Schema(document(request.param))


PICTURE = {"Content-Type": "image/png"}
JSON = {"Content-Type": "application/json; charset=utf-8", "X-Count": "2"}


def answered(body: Any = THING, status: int = 200, headers: Any = None, **fields: Any) -> Exchange:
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = {"method": "POST", "path": "/things", **fields}
    return Exchange(**request, status=status, headers=headers or JSON, body=content)


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in THING.items() if key != name}


VALID = {
    "a thing": answered(),
    "the other variant": answered({**THING, "pet": {"kind": "animal"}, "either": 3}),
    "a time of another zone": answered({**THING, "at": "2026-11-24T12:00:00+05:30"}),
    "no color": answered({**THING, "color": None}),
    "nothing": answered(b"", 204, {"X": "y"}),
    "a problem": answered({"type": "about:blank"}, 404, {"Content-Type": "application/problem+json"}),
    "behind the server's path": answered(path="/base/things"),
    "headers in whatever case": answered(headers={**JSON, "x-more": "true"}),
    "of two paths the literal one": answered(b"", 204, method="GET", path="/things/mine"),
    "binary": answered(b"\x89", 200, PICTURE, method="GET", path="/files/a"),
    "streamed": answered(None, headers=JSON),
    "HEAD is GET without the body": answered(b"", method="HEAD", path="/things/7"),
    "OPTIONS, which nobody documents": answered(b"x", 200, {}, method="OPTIONS"),
}

INVALID = {
    "undocumented status": (answered(status=202), "Status 202 is not documented. Documented: 200, 204, 4XX."),
    "undocumented path": (answered(path="/thing"), "The schema does not have this path."),
    "undocumented path below one": (
        answered(method="GET", path="/things/1/more"),
        "The schema does not have this path.",
    ),
    "undocumented method": (answered(method="PUT"), "does not have PUT for this path, only POST."),
    "wrong type": (answered({**THING, "count": "2"}), "#/count: '2' is not of type integer."),
    "out of bounds": (answered({**THING, "count": 0}), "#/count: 0 does not match exclusiveMinimum 0."),
    "missing property": (answered(without("mail")), "#: 'mail' is a required property."),
    "undocumented property": (answered({**THING, "extra": 1}), "'extra' was unexpected"),
    "undocumented property of a part": (answered({**THING, "both": {"one": 1, "three": 3}}), "'three' was unexpected"),
    "undocumented property of a variant": (answered({**THING, "pet": {"kind": "animal", "lives": 9}}), "'lives'"),
    "deep in the tree": (
        answered({**THING, "tree": {"name": "", "children": [{"name": 1, "children": []}]}}),
        "#/tree/children/0/name: 1 is not of type string.",
    ),
    "what is written only": (answered({**THING, "password": "x"}), "#/password: 'x' must not be here"),
    "null that is not": (answered({**THING, "mail": None}), "#/mail: None is not of type string."),
    "uuid": (answered({**THING, "id": "7"}), "#/id: '7' does not have the format uuid."),
    "date-time without zone": (answered({**THING, "at": "2026-11-24T12:00:00"}), "not have the format date-time."),
    "date-time of no day": (answered({**THING, "at": "2026-02-30T12:00:00Z"}), "not have the format date-time."),
    "email": (answered({**THING, "mail": "ada"}), "does not have the format email."),
    "uri without scheme": (answered({**THING, "link": "/a"}), "does not have the format uri."),
    "uri with a space": (answered({**THING, "link": "https://example.com/a b"}), "not have the format uri."),
    "enum": (answered({**THING, "color": "green"}), "#/color: 'green' is not one of red, blue."),
    "none of either": (
        answered({**THING, "either": "longer than nine"}),
        "#/either: 'longer than nine'",
    ),
    "unknown variant": (
        answered({**THING, "pet": {"kind": "eel"}}),
        "'eel' is not one of cat, animal.",
    ),
    "wrong variant": (answered({**THING, "pet": {"kind": "cat"}}), "'lives' is a required property."),
    "other media type": (
        answered(headers={**JSON, "Content-Type": "text/html"}),
        "The body has text/html",
    ),
    "no media type": (
        answered(headers={"X-Count": "1"}),
        "The body has no media type, but the schema has application/json.",
    ),
    "another's media range": (
        answered(b"x", 200, {"Content-Type": "text/css"}, method="GET", path="/files/a"),
        "The body has text/css, but the schema has image/*.",
    ),
    "body where there is none": (answered(b"{}", 204), "the schema has no body for this status."),
    "stream where there is none": (answered(None, 204), "the schema has no body for this status."),
    "no body where there is one": (answered(b""), "The body is empty, but the schema has application/json."),
    "no JSON": (answered(b"{"), "is not valid JSON"),
    "NaN": (answered(json.dumps({**THING, "count": float("nan")}).encode()), "NaN is not a JSON number"),
    "missing header": (
        answered(headers={"Content-Type": "application/json"}),
        "The required header X-Count is missing",
    ),
    "wrong header": (answered(headers={**JSON, "X-Count": "two"}), "Header X-Count: 'two' is not of type integer."),
    "wrong header that may be left out": (
        answered(headers={**JSON, "X-More": "1"}),
        "Header X-More: 1 is not of type boolean",
    ),
    "error that is no problem": (
        answered({}, 400),
        "the schema has application/problem+json.",
    ),
    "accepted though not allowed": (
        answered(sent=json.dumps({**without("id"), "password": 1}).encode(), sent_type="application/json"),
        "Accepted request: #/password: 1 is not of type string.",
    ),
    "accepted though read only": (
        answered(sent=json.dumps({**THING, "password": "x"}).encode(), sent_type="application/json"),
        "Accepted request: #/id: '",
    ),
    "accepted in another media type": (
        answered(sent=b"a=b", sent_type="text/csv"),
        "The request had text/csv and was accepted",
    ),
}


@pytest.mark.parametrize("exchange", VALID.values(), ids=VALID)
def test_valid_exchange_passes(schema: Schema, exchange: Exchange) -> None:
    schema.check(exchange, requests=True)


@pytest.mark.parametrize(("exchange", "message"), INVALID.values(), ids=INVALID)
def test_each_mismatch_is_explained(schema: Schema, exchange: Exchange, message: str) -> None:
    with pytest.raises(SchemaMismatch) as caught:
        schema.check(exchange, requests=True)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{exchange.method} {exchange.path} answered {exchange.status}, ")
    assert "with unchecked()" in str(caught.value)
    assert len(caught.value.errors) == 1


def test_all_mismatches_are_reported(schema: Schema) -> None:
    with pytest.raises(SchemaMismatch) as caught:
        schema.check(answered({**without("at"), "count": "", "mail": 1}, headers={"Content-Type": "application/json"}))
    assert len(caught.value.errors) == 4


def test_refused_request_may_be_invalid(schema: Schema) -> None:
    problem = {"Content-Type": "application/problem+json"}
    refused = answered({"type": "x"}, 400, problem, sent=b"[", sent_type="text/csv")
    schema.check(refused, requests=True)
    schema.check(answered(sent=b"[]", sent_type="application/json"))  # requests are not asked about


def test_undocumented_statuses_are_validated_if_described(schema: Schema) -> None:
    for exchange in (answered({}, 503), answered({}, 404, path="/nowhere"), answered({}, 405, method="PUT")):
        schema.check(exchange, undocumented=frozenset({"5XX", "404", "405"}))
    with pytest.raises(SchemaMismatch, match="the schema has application/problem"):
        schema.check(answered({}, 404), undocumented=frozenset({"404"}))


def test_unsupported_documents_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"OpenAPI version 2\.0; supported are 3\.0 and 3\.1"):
        Schema({"swagger": "2.0"})
    broken = document("3.0.3")
    del broken["components"]["schemas"]["Tree"]
    with pytest.raises(ValueError, match="'#/components/schemas/Tree', which does not exist"):
        Schema(broken).check(answered())
    broken["paths"]["/things"] = {"$ref": "other.yaml#/things"}
    with pytest.raises(ValueError, match="in another document"):
        Schema(broken)


@pytest.mark.parametrize("name", ["s.json", "s.yaml"])
def test_document_can_be_a_file(tmp_path: Any, name: str) -> None:
    (tmp_path / name).write_text(json.dumps(document("3.0.3")))
    Schema.from_file(tmp_path / name).check(answered())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"undocumented": [99]}, "use statuses"),
        ({"exclude": "/a"}, "list or tuple"),
        ({"paths": "/"}, "list"),
    ],
)
def test_invalid_rules_are_rejected(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SchemaRules(**arguments)


# A project's own plain views, as drf-spectacular describes them.

VIEW = {"id": THING["id"], "at": THING["at"], "mail": THING["mail"], "link": None, "color": None}
SENT = {"at": THING["at"], "mail": THING["mail"], "link": None, "color": "red", "password": "x"}
Says = Callable[[Any], None]
plain = pytest.mark.urls("tests.contract.urls_described")


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Says:
    from tests.contract.urls_described import Described

    return lambda made: monkeypatch.setattr(Described, "answer", made, raising=False)


def thing(**changed: Any) -> Callable[[], Response]:
    return lambda: Response({**VIEW, **changed}, headers={"X-Count": "1"})


@plain
def test_client_passes_documented_responses(says: Says) -> None:
    client = SchemaClient()
    says(thing())
    assert client.post("/api/things", SENT).json()["link"] is None
    says(lambda: Response(status=204))
    assert client.post("/api/things", SENT).status_code == 204
    for pet in ({"kind": "cat", "lives": 9}, {"kind": "dog", "tricks": ["roll"]}):
        says(lambda pet=pet: Response(pet))
        assert client.get("/api/things").json() == pet
        assert client.head("/api/things").status_code == 200
    assert client.options("/api/things").status_code == 200


@plain
def test_stream_is_not_read(says: Says) -> None:
    says(lambda: StreamingHttpResponse([b"\x89", b"P"], status=206, content_type="image/png"))
    assert b"".join(SchemaClient().get("/api/things").streaming_content) == b"\x89P"
    says(lambda: StreamingHttpResponse([b"a"], status=206, content_type="text/plain"))
    with pytest.raises(SchemaMismatch, match=r"The body has text/plain, but the schema has image/png\."):
        SchemaClient().get("/api/things")


@plain
@pytest.mark.parametrize("client", [Client(), APIClient()])
def test_all_clients_are_validated(says: Says, client: Any) -> None:
    says(thing(link="x"))
    sent = json.dumps(SENT)
    with held_to_schema(), pytest.raises(SchemaMismatch, match=r"^POST /api/things answered 200") as caught:
        client.post("/api/things", sent, content_type="application/json")
    assert caught.value.errors == ["#/link: 'x' does not have the format uri."]
    with pytest.raises(SchemaMismatch, match="operation api_things_create"):
        SchemaClient().post("/api/things", sent, content_type="application/json")


@plain
@pytest.mark.parametrize("client", [AsyncSchemaClient(), AsyncClient()])
def test_asynchronous_clients_are_validated(says: Says, client: Any) -> None:
    says(thing())
    post = async_to_sync(client.post)
    with held_to_schema(SchemaRules(requests=True)):
        assert post("/api/things", SENT, "application/json").status_code == 200
        says(thing(at="yesterday"))
        with pytest.raises(SchemaMismatch, match="#/at: 'yesterday' does not have"):
            post("/api/things", SENT, "application/json")


@plain
@pytest.mark.parametrize("client", [Client(), AsyncClient()])
def test_requests_are_validated_on_request(says: Says, client: Any) -> None:
    says(thing())
    post = async_to_sync(client.post) if isinstance(client, AsyncClient) else client.post
    wrong = {**SENT, "mail": 1}
    with held_to_schema():
        assert post("/api/things", wrong, "application/json").status_code == 200
    with held_to_schema(SchemaRules(requests=True)):
        assert post("/api/things", SENT, "application/json").status_code == 200
        with pytest.raises(SchemaMismatch, match="Accepted request: #/mail: 1 is not of type string"):
            post("/api/things", wrong, "application/json")


def test_view_reads_the_validated_body(client: Client) -> None:
    with held_to_schema(SchemaRules(requests=True, undocumented=[201], exclude=[re.compile("^/api/orders")])):
        assert client.post("/api/orders", {"title": "x"}, "application/json").json() == {"title": "x"}


@plain
def test_nothing_is_validated_outside_the_block(says: Says) -> None:
    says(thing(link="x"))
    with held_to_schema():
        pass
    assert Client().post("/api/things", SENT, "application/json").status_code == 200


@plain
def test_unchecked_and_excluded_requests_pass(says: Says) -> None:
    says(thing(link="x"))
    with held_to_schema():
        with unchecked():
            assert Client().get("/api/nowhere").status_code == 404
        with pytest.raises(SchemaMismatch, match="Is it excluded or misspelt"):
            Client().get("/api/nowhere")
        assert Client().post("/internal/things").status_code == 200
    for rules in ({"exclude": ["/api/th"]}, {"exclude": [re.compile("things$")]}, {"paths": ["/v2"]}):
        with held_to_schema(SchemaRules(**rules)):  # type: ignore[arg-type]  # each is one of its fields
            assert Client().post("/api/things").status_code == 200
    with held_to_schema(SchemaRules(paths=["/internal/"])), pytest.raises(SchemaMismatch):
        Client().post("/internal/things")


@plain
def test_innermost_rules_apply(says: Says) -> None:
    with held_to_schema(), held_to_schema(SchemaRules(undocumented=[404])):
        assert Client().get("/api/nowhere").status_code == 404


@plain
def test_schema_is_generated_once_per_urlconf(says: Says, settings: Any) -> None:
    schemas_module._of_urls.cache_clear()
    says(thing())
    for _ in range(3):
        SchemaClient().post("/api/things", SENT)
    assert schemas_module._of_urls.cache_info().misses == 1
    settings.ROOT_URLCONF = "tests.contract.urls"
    assert "/api/things" not in Schema.of_project().document["paths"]


@plain
def test_full_paths_are_validated_if_the_document_trims_them() -> None:
    from drf_spectacular.settings import spectacular_settings

    spectacular: Any = spectacular_settings
    schemas_module._of_urls.cache_clear()
    with (
        unittest.mock.patch.object(spectacular, "SCHEMA_PATH_PREFIX_TRIM", True),
        unittest.mock.patch.object(spectacular, "SCHEMA_PATH_PREFIX", "/api"),
    ):
        assert "/api/things" in Schema.of_project().document["paths"]
        assert spectacular.SCHEMA_PATH_PREFIX_TRIM is True
    schemas_module._of_urls.cache_clear()


@plain
@pytest.mark.parametrize("link", [None, "x"])
def test_test_case_mixin_validates_all_clients(says: Says, link: str | None) -> None:
    says(thing(link=link))

    class Case(SchemaTestMixin, SimpleTestCase):
        def test(self) -> None:
            assert self.client.post("/api/things", SENT, "application/json").status_code == 200

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(result)
    assert result.testsRun == 1
    assert [text for _, text in result.failures + result.errors if "SchemaMismatch" not in text] == []
    assert result.wasSuccessful() is (link is None)
    assert Client().post("/api/things", SENT, "application/json").status_code == 200


def test_problems_match_the_schema(client: Client) -> None:
    with held_to_schema():
        for path in ("/api/items?limit=x", "/api/fail/query", "/api/private"):
            assert client.get(path).status_code >= 400
    with held_to_schema(SchemaRules(undocumented=[404])):
        assert isinstance(client.get("/api/nowhere"), HttpResponse)
