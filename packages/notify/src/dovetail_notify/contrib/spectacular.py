"""How drf-spectacular describes what serializers alone do not tell."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_serializer
from rest_framework import serializers

from dovetail_notify.api.serializers import (
    MarkedSerializer,
    NotificationSerializer,
    PreferenceSerializer,
    TicketSerializer,
    WebPushKeySerializer,
)

_FILTERS = [
    OpenApiParameter("unread", OpenApiTypes.BOOL, description="Only unread ones, or only read ones."),
    OpenApiParameter("archived", OpenApiTypes.BOOL, description="Only archived ones."),
    OpenApiParameter("type", OpenApiTypes.STR),
    OpenApiParameter("category", OpenApiTypes.STR),
]
_ID = OpenApiParameter("notification_id", OpenApiTypes.INT64, OpenApiParameter.PATH)


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
    """All cells at once, in the shape of a page."""

    data = PreferenceSerializer(many=True)  # type: ignore[assignment]  # a field; the metaclass takes it off the class
    meta = _Meta()


class PreferenceViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_notify.api.preference_views.PreferenceViewSet"

    def view_replacement(self) -> Any:
        class Described(self.target):  # type: ignore[misc, name-defined]  # as above
            @extend_schema(responses=_Preferences)
            def list(self, request: Any, **kwargs: Any) -> Any: ...

            @extend_schema(responses=_Preferences)
            def partial_update(self, request: Any, **kwargs: Any) -> Any: ...

        return Described


class DeviceViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_notify.api.device_views.DeviceViewSet"

    def view_replacement(self) -> Any:
        key = OpenApiParameter("device_id", OpenApiTypes.INT64, OpenApiParameter.PATH)

        class Described(self.target):  # type: ignore[misc, name-defined]  # as above
            @extend_schema("push_devices_web_push_key", responses=WebPushKeySerializer)
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
