from __future__ import annotations

from typing import Any

from rest_framework import serializers

from dovetail_apikeys import get_api_key_model
from dovetail_apikeys.conf import LONGEST_GRACE
from dovetail_core.rest.fields import FIELD_MAPPING, TextField, WholeNumberField


class WordsField(serializers.ListField):
    """A JSON list that is stored as space-separated text."""

    child = TextField(max_length=200)

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=200, **options)

    def to_representation(self, data: object) -> list[str]:
        return str(data).split()


class APIKeySerializer(serializers.ModelSerializer[Any]):
    serializer_field_mapping = FIELD_MAPPING
    prefix = serializers.CharField(source="key_prefix", read_only=True)
    scopes = WordsField(required=False)
    allowed_networks = WordsField(
        required=False, help_text="Addresses or networks (CIDR) from which the key may be used. Empty allows all."
    )
    # Not a choice field: drf-spectacular would warn of a collision with a project's own `status` enum.
    status = serializers.CharField(read_only=True, help_text="active, expired or revoked")
    # Null if the key was not created by a user, or if the user was deleted.
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
        # An allow-list of writable fields, because a project's own model may make inherited fields editable.
        read_only_fields: tuple[str, ...] = tuple({*fields} - {"name", "scopes", "allowed_networks", "expires_at"})


class UpdateAPIKeySerializer(APIKeySerializer):
    """Only the name and the scopes of a key can be changed."""

    class Meta(APIKeySerializer.Meta):
        read_only_fields = (*APIKeySerializer.Meta.read_only_fields, "allowed_networks", "expires_at")

    allowed_networks = WordsField(read_only=True)


class NewAPIKeySerializer(APIKeySerializer):
    key = serializers.CharField(read_only=True, help_text="The raw key. It is not stored, and is shown only once.")

    class Meta(APIKeySerializer.Meta):
        fields = (*APIKeySerializer.Meta.fields, "key")


class RevokeAPIKeySerializer(serializers.Serializer[Any]):
    """A revocation has no fields."""


class RotateAPIKeySerializer(serializers.Serializer[Any]):
    grace = WholeNumberField(
        min_value=0,
        max_value=LONGEST_GRACE,
        required=False,
        help_text="Seconds for which the old key stays valid; 0 ends it immediately.",
    )
    expires_at = serializers.DateTimeField(required=False, allow_null=True)
