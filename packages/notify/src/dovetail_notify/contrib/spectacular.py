"""Descriptions for drf-spectacular that it cannot derive from the serializers."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

from django.contrib.auth import get_user_model
from drf_spectacular.extensions import OpenApiSerializerExtension, OpenApiViewExtension
from drf_spectacular.plumbing import ResolvedComponent, is_jsonschema_compliant
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    PolymorphicProxySerializer,
    extend_schema,
    extend_schema_serializer,
)
from rest_framework import serializers

from dovetail_notify.api.serializers import (
    MarkedSerializer,
    NotificationSerializer,
    PreferenceSerializer,
    TicketSerializer,
    WebPushKeySerializer,
)
from dovetail_notify.transports.previews import example_row
from dovetail_notify.types import NotificationType, payloads, registry
from dovetail_notify.types.json_schema import Schema, payload_schema

logger = logging.getLogger("dovetail.notify")

_FILTERS = [
    OpenApiParameter("unread", OpenApiTypes.BOOL, description="Only unread ones, or only read ones."),
    OpenApiParameter("archived", OpenApiTypes.BOOL, description="Only archived ones."),
    OpenApiParameter("type", OpenApiTypes.STR),
    OpenApiParameter("category", OpenApiTypes.STR),
]
_ID = OpenApiParameter("notification_id", OpenApiTypes.INT64, OpenApiParameter.PATH)


class Notifications(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]  # registers itself, without types
    """A union of the registered types, discriminated by ``type``, and a variant for rows of removed types.

    Enums are components of their own. drf-spectacular names enums after their properties and warns if enums of one name
    differ, as those of ``type`` do.
    """

    target_class = NotificationSerializer

    def map_serializer(self, auto_schema: Any, direction: Any) -> Schema:
        whole: Schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        types = registry.all()
        if direction != "response" or not types:
            return whole
        names = dict(zip((cls.key for cls in types), _names(types), strict=True))
        self._components = auto_schema.registry
        own = ("type", "payload")
        shared = self._component(
            "NotificationFields",
            {
                "type": "object",
                "properties": {name: each for name, each in whole["properties"].items() if name not in own},
                "required": [name for name in whole["required"] if name not in own],
            },
        )
        variants = {cls.key: self._variant(cls, names[cls.key], shared) for cls in types}
        mapping = {key: variant["$ref"] for key, variant in variants.items()}
        known: Schema = {
            "oneOf": list(variants.values()),
            "discriminator": {"propertyName": "type", "mapping": mapping},
        }
        gone = {"type": "string", "not": {"enum": sorted(variants)}, "description": "One that is no more."}
        other = _both(shared, gone, {"type": "object", "additionalProperties": {}})
        # Outside the union, because its discriminator must list every value.
        return {"oneOf": [self._component("KnownNotification", known), self._component("OtherNotification", other)]}

    def _variant(self, cls: type[NotificationType], name: str, shared: Schema) -> Schema:
        payload = payload_schema(cls, null=is_jsonschema_compliant())  # type: ignore[no-untyped-call]  # drf-spectacular's
        for field, schema in payload["properties"].items():
            holder = schema["items"] if schema.get("type") == "array" else schema
            if "enum" in holder:
                held = dict(holder)
                holder.clear()
                holder.update(self._component(f"{name}{_camel(field)}", held))
        kind = self._component(f"{name}Type", {"type": "string", "enum": [cls.key]})
        variant = _both(shared, kind, self._component(f"{name}Payload", payload | _example(cls)))
        return self._component(f"{name}Notification", variant | _example(cls, whole=True))

    def _component(self, name: str, schema: Schema) -> Schema:
        component = ResolvedComponent(  # type: ignore[no-untyped-call]  # as above
            name=name, type=ResolvedComponent.SCHEMA, schema=schema, object=name
        )
        self._components.register_on_missing(component)
        reference: Schema = component.ref
        return reference


def _both(shared: Schema, kind: Schema, payload: Schema) -> Schema:
    own = {"type": "object", "properties": {"type": kind, "payload": payload}, "required": ["type", "payload"]}
    return {"allOf": [shared, own]}


def _names(types: list[type[NotificationType]]) -> Iterator[str]:
    """Yield component names: ``orders.shipped`` becomes OrdersShipped, and the second of equal names gets a number."""
    seen: dict[str, int] = {}
    for cls in types:
        name = _camel(cls.key)
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name}{seen[name]}"


def _camel(words: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[._]", words))


def _example(cls: type[NotificationType], *, whole: bool = False) -> Schema:
    """Return the example, or nothing if it does not render, which a system check reports."""
    try:
        if not whole:
            return {"example": payloads.encode(cls.from_example())}
        data = dict(NotificationSerializer(example_row(cls, get_user_model()())).data)
    except Exception as error:  # noqa: BLE001  # a project's render() failed
        logger.warning("The schema has no example of %s: %s.", cls.key, type(error).__name__)
        return {}
    return {"example": {**data, "id": 1, "created_at": "2026-11-24T12:00:00Z"}}


class NotificationViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # registers itself, without types
    target_class = "dovetail_notify.api.views.NotificationViewSet"

    def view_replacement(self) -> Any:
        class Described(self.target):  # type: ignore[misc, name-defined]  # a class that is known at run time
            @extend_schema(parameters=_FILTERS)
            def list(self, request: Any, **kwargs: Any) -> Any: ...

            @extend_schema(parameters=[_ID])
            def retrieve(self, request: Any, **kwargs: Any) -> Any: ...

            @extend_schema(parameters=[_ID], responses=NotificationSerializer)
            def partial_update(self, request: Any, **kwargs: Any) -> Any: ...

            @extend_schema(parameters=[_ID])
            def destroy(self, request: Any, **kwargs: Any) -> Any: ...

            @extend_schema("notifications_read", parameters=[_ID], request=None, responses=NotificationSerializer)
            def read(self, request: Any, **kwargs: Any) -> Any: ...

            @extend_schema("notifications_unread", parameters=[_ID], request=None, responses=NotificationSerializer)
            def unread(self, request: Any, **kwargs: Any) -> Any: ...

            @extend_schema("notifications_mark_read", responses=MarkedSerializer)
            def mark_read(self, request: Any, **kwargs: Any) -> Any: ...

            @extend_schema("notifications_unread_count")
            def unread_count(self, request: Any, **kwargs: Any) -> Any: ...

            @extend_schema("notifications_ticket", request=None, responses={201: TicketSerializer})
            def ticket(self, request: Any, **kwargs: Any) -> Any: ...

        return Described


class _Meta(serializers.Serializer[Any]):
    next = serializers.CharField(allow_null=True)
    prev = serializers.CharField(allow_null=True)
    total = serializers.IntegerField(allow_null=True)


@extend_schema_serializer(many=False, component_name="Preferences")
class _Preferences(serializers.Serializer[Any]):
    """All preferences at once, in the form of a page."""

    data = PreferenceSerializer(many=True)  # type: ignore[assignment]  # a field; the metaclass takes it off the class
    meta = _Meta()


# One preference or a list.
_CHOICES = PolymorphicProxySerializer(
    "PreferenceChoices",
    serializers=[PreferenceSerializer, PreferenceSerializer(many=True)],
    resource_type_field_name=None,
    many=False,
)


class PreferenceViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_notify.api.preference_views.PreferenceViewSet"

    def view_replacement(self) -> Any:
        class Described(self.target):  # type: ignore[misc, name-defined]  # as above
            @extend_schema(responses=_Preferences)
            def list(self, request: Any, **kwargs: Any) -> Any: ...

            @extend_schema(request=_CHOICES, responses=_Preferences)
            def partial_update(self, request: Any, **kwargs: Any) -> Any: ...

        return Described


class DeviceViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_notify.api.device_views.DeviceViewSet"

    def view_replacement(self) -> Any:
        key = OpenApiParameter("device_id", OpenApiTypes.INT64, OpenApiParameter.PATH)

        class Described(self.target):  # type: ignore[misc, name-defined]  # as above
            @extend_schema("push_devices_web_push_key", responses={200: WebPushKeySerializer, 404: OpenApiTypes.OBJECT})
            def web_push_key(self, request: Any, **kwargs: Any) -> Any: ...

            @extend_schema(parameters=[key])
            def destroy(self, request: Any, **kwargs: Any) -> Any: ...

        return Described


class StreamViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_notify.api.stream.StreamView"

    def view_replacement(self) -> Any:
        class Described(self.target):  # type: ignore[misc, name-defined]  # as above
            @extend_schema(
                operation_id="notifications_stream",
                responses={(200, "text/event-stream"): OpenApiTypes.STR, 501: OpenApiTypes.OBJECT},
            )
            def get(self, request: Any, **kwargs: Any) -> Any: ...

        return Described
