from __future__ import annotations

from typing import Any

from rest_framework import serializers

from dovetail_apikeys import get_api_key_model
from dovetail_apikeys.conf import LONGEST_GRACE
from dovetail_core.rest.fields import FIELD_MAPPING, TextField, WholeNumberField

_MAX_ITEMS = 200


class Words(serializers.ListField):
    """A list in JSON that is space-separated text in the database."""

    child = TextField(max_length=200)

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=_MAX_ITEMS, **options)

    def to_representation(self, data: Any) -> list[str]:
        return list(str(data).split())


class APIKeySerializer(serializers.ModelSerializer[Any]):
    serializer_field_mapping = FIELD_MAPPING
    prefix = serializers.CharField(source="key_prefix", read_only=True)
    scopes = Words(required=False)
    allowed_networks = Words(required=False, help_text="Addresses or networks (CIDR) that it may be used from.")
    # Not a choice field: drf-spectacular would warn of a collision with a project's own `status` enum.
    status = serializers.CharField(read_only=True, help_text="active, expired or revoked")
    # Null if a program created the key, or if the person was deleted.
    created_by = serializers.PrimaryKeyRelatedField[Any](read_only=True, allow_null=True)

    class Meta:
        model = get_api_key_model()
        fields: tuple[str, ...] = (
            "id",
            "name",
            "prefix",
            "scopes",
            "allowed_networks",
            "rate_limit",
            "status",
            "created_by",
            "created_at",
            "last_used",
            "last_used_ip",
            "expires_at",
            "revoked_at",
            "rotated_from",
        )
        read_only_fields: tuple[str, ...] = (
            "id",
            "rate_limit",
            "created_at",
            "last_used",
            "last_used_ip",
            "revoked_at",
            "rotated_from",
        )


class UpdateAPIKeySerializer(APIKeySerializer):
    """Only the name and the scopes of a key can change."""

    class Meta(APIKeySerializer.Meta):
        read_only_fields = (*APIKeySerializer.Meta.read_only_fields, "allowed_networks", "expires_at")

    allowed_networks = Words(read_only=True)


class NewAPIKeySerializer(APIKeySerializer):
    key = serializers.CharField(read_only=True, help_text="The key itself. Shown this once, and stored nowhere.")

    class Meta(APIKeySerializer.Meta):
        fields = (*APIKeySerializer.Meta.fields, "key")


class RotateAPIKeySerializer(serializers.Serializer[Any]):
    grace = WholeNumberField(
        min_value=0,
        max_value=LONGEST_GRACE,
        required=False,
        help_text="Seconds that the old key stays good; 0 ends it now.",
    )
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class NothingSerializer(serializers.Serializer[Any]):
    """A request without a body."""
