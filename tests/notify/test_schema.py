"""The notifications in the OpenAPI document match the API's responses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any, Literal
from uuid import UUID

import pytest

from dovetail_notify import NotificationType, Rendered, get_notification_model, notify
from dovetail_notify.types import payloads, registry
from tests.notify.orders.notifications import Carrier, OrderShipped, Quiet, SignedIn, Tip

pytest.importorskip("drf_spectacular", reason="drf-spectacular is not installed")

import jsonschema
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.settings import spectacular_settings
from drf_spectacular.validation import validate_schema
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from dovetail_notify.types.payloads import _schema

pytestmark = pytest.mark.django_db
Notification = get_notification_model()
FULL = OrderShipped(
    number="A-1",
    carrier=Carrier.COURIER,
    order_id=UUID(int=5),
    total=Decimal("9.90"),
    due=date(2026, 1, 2),
    at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
    items=["a"],
)


class Colour(StrEnum):
    RED = "red"


class Size(IntEnum):
    SMALL = 1


def document() -> Any:
    openapi = SchemaGenerator().get_schema(request=None, public=True)
    validate_schema(openapi)
    return openapi


def validator(openapi: Any, component: str) -> Any:
    schema = {"$ref": f"#/components/schemas/{component}", "components": _with_null(openapi["components"])}
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())


def _with_null(node: Any) -> Any:
    """Convert ``nullable`` of OpenAPI 3.0 to JSON Schema."""
    if isinstance(node, list):
        return [_with_null(each) for each in node]
    if not isinstance(node, dict):
        return node
    plain = {name: _with_null(each) for name, each in node.items() if name != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if node.get("nullable") is True else plain


@pytest.fixture(autouse=True)
def _described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(APIView, "schema", AutoSchema())
    monkeypatch.setattr(api_settings, "DEFAULT_SCHEMA_CLASS", AutoSchema)
    GENERATOR_STATS.reset()


@pytest.fixture
def made() -> Iterator[list[type[NotificationType]]]:
    classes: list[type[NotificationType]] = []
    yield classes
    for cls in classes:
        registry.remove(cls)


@pytest.fixture(params=["3.0.3", "3.1.0"])
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(spectacular_settings, "OAS_VERSION", request.param)
    return str(request.param)


def test_every_notification_matches_the_schema(api, user, version):
    for notification in (FULL, OrderShipped(number="A-2"), SignedIn(device="x"), Tip(), Quiet()):
        notify(notification, to=user)
    notify(Tip(), to=user)
    Notification.objects.filter(pk=Notification.objects.latest("pk").pk).update(type="gone.long", payload={"a": [1]})
    answer = api.get("/api/v1/notifications/").json()
    openapi = document()
    assert not [
        each for each in GENERATOR_STATS._error_cache | GENERATOR_STATS._warn_cache if "otification" in str(each)
    ]
    valid = validator(openapi, "NotifyNotification")
    kinds = []
    for row in answer["data"]:
        valid.validate(row)
        kinds.append((row["type"], validator(openapi, "NotifyOtherNotification").is_valid(row)))
    assert kinds == [
        ("gone.long", True),
        ("orders.quiet", False),
        ("orders.tip", False),
        ("security.signed_in", False),
        ("orders.shipped", False),
        ("orders.shipped", False),
    ]


@pytest.mark.parametrize(
    "change", [{"number": 5}, {"number": None}, {"carrier": "pigeon"}, {"items": [1]}, {"order_id": "x"}, {"total": 9}]
)
def test_payload_of_another_shape_does_not_match(api, user, version, change):
    notify(FULL, to=user)
    (row,) = api.get("/api/v1/notifications/").json()["data"]
    valid = validator(document(), "NotifyNotification")
    assert valid.is_valid(row)
    row["payload"] |= change
    assert not valid.is_valid(row)
    del row["payload"]["number"]
    assert not valid.is_valid(row)


def test_each_type_has_an_example_and_a_discriminator_entry(version):
    openapi = document()
    schemas = openapi["components"]["schemas"]
    mapping = schemas["NotifyKnownNotification"]["discriminator"]["mapping"]
    assert sorted(mapping) == [cls.key for cls in registry.all()]
    assert [each["$ref"] for each in schemas["NotifyKnownNotification"]["oneOf"]] == list(mapping.values())
    for cls in registry.all():
        name = mapping[cls.key].rpartition("/")[2]
        example = schemas[name]["example"]
        validator(openapi, name).validate(example)
        payload = name.removesuffix("Notification") + "Payload"
        assert schemas[payload]["example"] == example["payload"] == payloads.encode(cls.from_example())


def test_components_begin_with_the_package(made):
    """Components with bare names were replaced by a project's component of the same name."""
    made.append(type("Known", (NotificationType,), {"render": lambda self: Rendered(title="x")}, key="known"))
    schemas = document()["components"]["schemas"]
    assert {"NotifyOrdersShippedPayload", "NotifyOrdersShippedCarrier", "NotifySecuritySignedInType"} <= set(schemas)
    # drf-spectacular names the page of a list, a partial update, and the enums of serializers.
    assert [name for name in schemas if not re.match("(Paginated|Patched)?Notify|[A-Z][a-z]+Enum$", name)] == []
    # The type "known" does not replace the union.
    assert schemas["NotifyKnownNotification"]["discriminator"]["mapping"]["known"].endswith("/NotifyKnown2Notification")


def test_document_is_deterministic():
    assert document() == document()


def test_similar_keys_get_distinct_component_names(made):
    for key in ("tests.made_up", "tests.made.up"):
        made.append(type("MadeUp", (NotificationType,), {"render": lambda self: Rendered(title="x")}, key=key))
    mapping = document()["components"]["schemas"]["NotifyKnownNotification"]["discriminator"]["mapping"]
    named = {mapping[cls.key].rpartition("/")[2] for cls in made}
    assert named == {"NotifyTestsMadeUpNotification", "NotifyTestsMadeUp2Notification"}


def test_example_that_does_not_render_is_omitted(made, caplog):
    def render(self: Any) -> Rendered:
        raise RuntimeError("secret")

    made.append(type("Broken", (NotificationType,), {"render": render}, key="tests.broken"))
    schemas = document()["components"]["schemas"]
    assert "example" not in schemas["NotifyTestsBrokenNotification"]
    assert "The schema has no example of tests.broken: RuntimeError." in caplog.text
    assert "secret" not in caplog.text


def test_without_types_the_schema_is_an_object(monkeypatch):
    monkeypatch.setattr(registry, "_types", {})
    schemas = document()["components"]["schemas"]
    assert schemas["NotifyNotification"]["properties"]["payload"]["type"] == "object"
    assert "NotifyKnownNotification" not in schemas


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, {"type": "string"}),
        (bool, {"type": "boolean"}),
        (float, {"type": "number"}),
        (time, {"type": "string"}),
        (timedelta, {"type": "string", "format": "duration"}),
        (Colour, {"type": "string", "enum": ["red"]}),
        (Size, {"type": "integer", "enum": [1]}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (Any, {}),
        (Any | None, {}),
        (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (int | None, {"type": "integer", "nullable": True}),
        (Colour | None, {"anyOf": [{"type": "string", "enum": ["red"]}, {"enum": [None]}]}),
        (list, {"type": "array", "items": {}}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (tuple[int, str], {"type": "array", "items": {}}),
        (dict[str, list[UUID]], None),
        (dict, {"type": "object", "additionalProperties": {}}),
    ],
)
def test_annotations_in_openapi_3_0(hint, schema):
    if schema is None:
        uuids = {"type": "array", "items": {"type": "string", "format": "uuid"}}
        schema = {"type": "object", "additionalProperties": uuids}
    assert _schema(hint, null=False) == schema


def test_null_is_a_type_in_openapi_3_1():
    assert _schema(int | str | None, null=True) == {
        "anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]
    }
