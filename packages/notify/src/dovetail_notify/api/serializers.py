from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from django.utils.functional import cached_property
from rest_framework import serializers

from dovetail_core.rest.fields import FlagField, TextField, WholeNumberField
from dovetail_notify.base import AbstractNotification, get_notification_model
from dovetail_notify.exceptions import ForbiddenDestination
from dovetail_notify.inbox.preferences import available_modes
from dovetail_notify.inbox.reading import represent, timestamp_format
from dovetail_notify.models import ANY, Device
from dovetail_notify.transports import available_channels
from dovetail_notify.transports.http.ssrf import check_endpoint
from dovetail_notify.transports.push.vapid import b64decode
from dovetail_notify.types import current_payload, registry

MAX_ID = 2**63 - 1


class NotificationSerializer(serializers.ModelSerializer[Any]):
    message = serializers.CharField(read_only=True, help_text="Title and body in one text.")
    organization = serializers.CharField(source="organization_key", read_only=True, allow_null=True)
    actor = serializers.SerializerMethodField(help_text="The key of the user or principal who caused it, or null.")
    payload = serializers.SerializerMethodField(help_text="The fields of the notification type.")

    class Meta:
        model = get_notification_model()
        fields = (
            "id",
            "type",
            "title",
            "body",
            "message",
            "target_url",
            "payload",
            "organization",
            "actor",
            "collapse_key",
            "created_at",
            "seen_at",
            "read_at",
            "archived_at",
        )
        read_only_fields = fields

    def get_actor(self, row: AbstractNotification) -> str | None:
        return row.actor_key or None

    def get_payload(self, row: AbstractNotification) -> dict[str, Any]:
        return current_payload(row.type, row.payload, row.payload_version)

    def to_representation(self, instance: AbstractNotification) -> dict[str, Any]:
        """Represent a row without calling the fields. A subclass, which may have other fields, calls its fields."""
        if type(self) is NotificationSerializer:
            return represent(instance, self._timestamp_format)
        fields: dict[str, Any] = super().to_representation(instance)
        return fields

    @cached_property
    def _timestamp_format(self) -> Callable[[Any], Any]:
        return timestamp_format()


class NotificationUpdateSerializer(serializers.Serializer[Any]):
    read = FlagField(required=False)
    seen = FlagField(required=False)
    archived = FlagField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs:
            raise serializers.ValidationError("Send at least one of read, seen and archived.", code="required")
        if attrs.get("read") is False and attrs.get("archived"):
            raise serializers.ValidationError("An archived notification cannot be unread.", code="invalid")
        return attrs


class MarkReadSerializer(serializers.Serializer[Any]):
    ids = serializers.ListField(
        child=WholeNumberField(min_value=1, max_value=MAX_ID), required=False, min_length=1, max_length=200
    )
    upto = WholeNumberField(
        min_value=1, max_value=MAX_ID, required=False, help_text="The id of the newest notification that has been seen."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if len(attrs) != 1:
            raise serializers.ValidationError("Send either ids or upto.", code="invalid")
        return attrs


class UnreadCountSerializer(serializers.Serializer[Any]):
    unread = serializers.IntegerField()
    capped = serializers.BooleanField(help_text="Whether there are more unread notifications.")


class MarkedSerializer(UnreadCountSerializer):
    marked = serializers.IntegerField(help_text="The number of notifications that were unread before.")


class TicketSerializer(serializers.Serializer[Any]):
    ticket = serializers.CharField()
    expires_in = serializers.IntegerField(help_text="Seconds.")


class PreferenceSerializer(serializers.Serializer[Any]):
    """The preference for one type and one channel."""

    type = TextField(max_length=100)
    channel = TextField(max_length=20)
    mode = TextField(allow_null=True, help_text="on, off, hourly or daily; null restores the default.")
    category = serializers.CharField(read_only=True)
    source = serializers.CharField(  # type: ignore[assignment]  # a serializer is a field and has a source of its own
        read_only=True, help_text="type, organization, user or required."
    )
    modes = serializers.ListField(child=serializers.CharField(), read_only=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        cls = registry.get(attrs["type"])
        if cls is None and attrs["type"] != ANY:
            raise serializers.ValidationError({"type": ["Unknown type. Send '*' for all types."]}, code="invalid")
        types = [cls] if cls else registry.all()
        known = sorted({channel for item in types for channel in available_channels(item)})
        if attrs["channel"] not in known:
            raise serializers.ValidationError({"channel": [f"Must be one of: {', '.join(known)}."]}, code="invalid")
        if attrs["mode"] not in (None, *(allowed := available_modes(attrs["channel"]))):
            message = f"Must be one of: {', '.join(allowed)}, or null."
            raise serializers.ValidationError({"mode": [message]}, code="invalid")
        return attrs


class WebPushKeySerializer(serializers.Serializer[Any]):
    public_key = serializers.CharField(read_only=True, help_text="The applicationServerKey for subscribe().")


class DeviceSerializer(serializers.ModelSerializer[Device]):
    # Write-only, because a push token is enough to send to the device.
    token = TextField(max_length=2000, write_only=True)
    name = TextField(max_length=100, required=False, allow_blank=True)
    keys = serializers.DictField(
        child=TextField(max_length=200), required=False, write_only=True, help_text="web: p256dh and auth."
    )

    class Meta:
        model = Device
        fields = ("id", "kind", "name", "token", "keys", "created_at")
        read_only_fields = ("id", "created_at")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        keys = attrs.get("keys", {})
        if attrs["kind"] != Device.Kind.WEB:
            if keys:
                raise serializers.ValidationError({"keys": ["Only devices of the kind web have keys."]}, code="invalid")
            # The token becomes part of the path of a request to Apple.
            if attrs["kind"] == Device.Kind.APNS and not re.fullmatch(r"[0-9a-fA-F]{2,200}", attrs["token"]):
                raise serializers.ValidationError(
                    {"token": ["An APNs token has only hexadecimal digits."]}, code="invalid"
                )
            return attrs
        try:
            check_endpoint(attrs["token"])
        except ForbiddenDestination as error:
            raise serializers.ValidationError({"token": [str(error)]}, code="invalid") from error
        try:
            lengths = {name: len(b64decode(key)) for name, key in keys.items()}
        except ValueError:
            lengths = {}
        if lengths != {"p256dh": 65, "auth": 16}:
            message = "The keys are p256dh (65 bytes) and auth (16 bytes) in URL-safe base64."
            raise serializers.ValidationError({"keys": [message]}, code="invalid")
        return attrs
