"""Schemas that drf-spectacular cannot derive from the views and serializers."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from django.contrib.auth import get_user_model
from drf_spectacular.extensions import OpenApiSerializerExtension, OpenApiViewExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.settings import spectacular_settings
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer, extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request

from dovetail_core.rest.schema import prefix_components
from dovetail_notify.api import serializers as own_serializers
from dovetail_notify.api.serializers import (
    MarkedSerializer,
    NotificationSerializer,
    PreferenceSerializer,
    TicketSerializer,
    WebPushKeySerializer,
)
from dovetail_notify.transports.previews import example_row
from dovetail_notify.types import NotificationType, payloads, registry
from dovetail_notify.types.payloads import Schema, payload_schema

logger = logging.getLogger("dovetail.notify")

prefix_components(own_serializers, "Notify")

_FILTERS = [
    OpenApiParameter("unread", OpenApiTypes.BOOL, description="List only unread or only read notifications."),
    OpenApiParameter("archived", OpenApiTypes.BOOL, description="List archived notifications."),
    OpenApiParameter("type", OpenApiTypes.STR),
    OpenApiParameter("category", OpenApiTypes.STR),
]
_ID = OpenApiParameter("notification_id", OpenApiTypes.INT64, OpenApiParameter.PATH)
_DEVICE_ID = OpenApiParameter("device_id", OpenApiTypes.INT64, OpenApiParameter.PATH)


class Notifications(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]  # registers itself, without types
    """A union of the registered types, discriminated by ``type``, and a variant for rows of removed types.

    Enums are separate components, because drf-spectacular names inline enums after their property and warns if enums
    with the same name differ, as those of ``type`` do.
    """

    target_class = NotificationSerializer

    def get_name(self, auto_schema: AutoSchema, direction: str) -> str:
        return "NotifyNotification"

    def map_serializer(self, auto_schema: AutoSchema, direction: str) -> Schema:
        whole: Schema = auto_schema._map_serializer(  # type: ignore[no-untyped-call]  # as above
            self.target, direction, bypass_extensions=True
        )
        types = registry.all()
        if direction != "response" or not types:
            return whole
        self._components = auto_schema.registry
        own = ("type", "payload")
        properties = {name: schema for name, schema in whole["properties"].items() if name not in own}
        required = [name for name in whole["required"] if name not in own]
        fields: Schema = {"type": "object", "properties": properties, "required": required}
        shared = self._component("NotifyNotificationFields", fields)
        variants = {cls.key: self._variant(cls, name, shared) for cls, name in zip(types, _names(types), strict=True)}
        mapping = {key: variant["$ref"] for key, variant in variants.items()}
        known = {"oneOf": list(variants.values()), "discriminator": {"propertyName": "type", "mapping": mapping}}
        removed = {"type": "string", "not": {"enum": sorted(variants)}, "description": "A type that was removed."}
        other = _notification(shared, removed, {"type": "object", "additionalProperties": {}})
        # Outside the union, because its discriminator must list every value.
        return {
            "oneOf": [
                self._component("NotifyKnownNotification", known),
                self._component("NotifyOtherNotification", other),
            ]
        }

    def _variant(self, cls: type[NotificationType], name: str, shared: Schema) -> Schema:
        # "null" is a type since OpenAPI 3.1.
        payload = payload_schema(cls, null=not spectacular_settings.OAS_VERSION.startswith("3.0"))
        for field, schema in payload["properties"].items():
            value = schema["items"] if schema.get("type") == "array" else schema
            if "enum" in value:
                reference = self._component(f"{name}{_camel(field)}", dict(value))
                value.clear()
                value.update(reference)
        kind = self._component(f"{name}Type", {"type": "string", "enum": [cls.key]})
        variant = _notification(shared, kind, self._component(f"{name}Payload", payload | _example(cls)))
        return self._component(f"{name}Notification", variant | _example(cls, whole=True))

    def _component(self, name: str, schema: Schema) -> Schema:
        component = ResolvedComponent(  # type: ignore[no-untyped-call]  # as above
            name=name, type=ResolvedComponent.SCHEMA, schema=schema, object=name
        )
        self._components.register_on_missing(component)
        reference: Schema = component.ref
        return reference


def _notification(shared: Schema, kind: Schema, payload: Schema) -> Schema:
    own = {"type": "object", "properties": {"type": kind, "payload": payload}, "required": ["type", "payload"]}
    return {"allOf": [shared, own]}


def _names(types: list[type[NotificationType]]) -> Iterator[str]:
    """Yield component names such as ``NotifyOrdersShipped`` for ``orders.shipped``. A second one gets a number."""
    # Other components begin with these names: the types "known", "other" and "notification" get a number.
    counts = Counter(["NotifyKnown", "NotifyOther", "NotifyNotification"])
    for cls in types:
        # A project often has a component such as OrdersShippedPayload of its own.
        name = f"Notify{_camel(cls.key)}"
        counts[name] += 1
        yield name if counts[name] == 1 else f"{name}{counts[name]}"


def _camel(words: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[._]", words))


def _example(cls: type[NotificationType], *, whole: bool = False) -> Schema:
    """Return the example, or an empty schema if it does not render, which a system check reports."""
    try:
        if not whole:
            return {"example": payloads.encode(cls.from_example())}
        data = dict(NotificationSerializer(example_row(cls, get_user_model()())).data)
    except Exception as error:  # noqa: BLE001  # a project's render() failed
        logger.warning("The schema has no example of %s: %s.", cls.key, type(error).__name__)
        return {}
    return {"example": {**data, "id": 1, "created_at": "2026-11-24T12:00:00Z"}}


def _operation(operation_id: str | None = None, **schema: Any) -> Callable[..., None]:
    """Return a view's method whose only purpose is to carry its schema."""

    @extend_schema(operation_id, **schema)
    def method(self: object, request: Request, **kwargs: str) -> None: ...

    return method


class NotificationViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # registers itself, without types
    target_class = "dovetail_notify.api.views.NotificationViewSet"

    def view_replacement(self) -> type:
        updated: dict[str, Any] = {"parameters": [_ID], "request": None, "responses": NotificationSerializer}
        operations = {
            "list": _operation(parameters=_FILTERS),
            "retrieve": _operation(parameters=[_ID]),
            "partial_update": _operation(parameters=[_ID], responses=NotificationSerializer),
            "destroy": _operation(parameters=[_ID]),
            "read": _operation("notifications_read", **updated),
            "unread": _operation("notifications_unread", **updated),
            "mark_read": _operation("notifications_mark_read", responses=MarkedSerializer),
            "unread_count": _operation("notifications_unread_count"),
            "ticket": _operation("notifications_ticket", request=None, responses={201: TicketSerializer}),
        }
        return type("Described", (self.target,), operations)


@extend_schema_serializer(component_name="NotifyPreferencesMeta")
class _Meta(serializers.Serializer[Any]):
    next = serializers.CharField(allow_null=True)
    prev = serializers.CharField(allow_null=True)
    total = serializers.IntegerField(allow_null=True)


@extend_schema_serializer(many=False, component_name="NotifyPreferences")
class _Preferences(serializers.Serializer[Any]):
    """All preferences in the format of a page."""

    data = PreferenceSerializer(many=True)  # type: ignore[assignment]  # a field, which the metaclass removes
    meta = _Meta()


# One preference or a list.
_CHOICES = PolymorphicProxySerializer(
    "NotifyPreferenceChoices",
    serializers=[PreferenceSerializer, PreferenceSerializer(many=True)],
    resource_type_field_name=None,
    many=False,
)


class PreferenceViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_notify.api.preference_views.PreferenceViewSet"

    def view_replacement(self) -> type:
        operations = {
            "list": _operation(responses=_Preferences),
            "partial_update": _operation(request=_CHOICES, responses=_Preferences),
        }
        return type("Described", (self.target,), operations)


class DeviceViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_notify.api.views.DeviceViewSet"

    def view_replacement(self) -> type:
        responses = {200: WebPushKeySerializer, 404: OpenApiTypes.OBJECT}
        operations = {
            "web_push_key": _operation("push_devices_web_push_key", responses=responses),
            "destroy": _operation(parameters=[_DEVICE_ID]),
        }
        return type("Described", (self.target,), operations)


class StreamViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_notify.api.stream.StreamView"

    def view_replacement(self) -> type:
        responses = {(200, "text/event-stream"): OpenApiTypes.STR, 501: OpenApiTypes.OBJECT}
        return type("Described", (self.target,), {"get": _operation("notifications_stream", responses=responses)})
