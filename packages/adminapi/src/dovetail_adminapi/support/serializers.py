from __future__ import annotations

from typing import Any

from rest_framework import serializers

from dovetail_adminapi.models import SupportAccess
from dovetail_adminapi.support.access import LONGEST, SCOPES, state_of
from dovetail_core.rest.fields import TextField, WholeNumberField


class SupportAccessSerializer(serializers.ModelSerializer[SupportAccess]):
    """One access, for administrators and for the customer alike."""

    admin_id = serializers.CharField(source="admin_key", help_text="The administrator.")
    user_id = serializers.CharField(source="user_key", help_text="The user whose account is accessed.")
    organization_id = serializers.SerializerMethodField(
        help_text="The only organization whose rows the access shows, or null for an account without one."
    )
    scope = serializers.CharField(help_text="read or write")
    state = serializers.SerializerMethodField(help_text="pending, approved, active, expired or ended")

    class Meta:
        model = SupportAccess
        fields: Any = (
            "id",
            "state",
            "admin_id",
            "user_id",
            "organization_id",
            "reason",
            "ticket",
            "scope",
            "minutes",
            "requested_at",
            "approved_by",
            "approved_at",
            "started_at",
            "expires_at",
            "ended_at",
        )
        read_only_fields: Any = fields

    def get_organization_id(self, access: SupportAccess) -> str | None:
        return access.organization_key or None

    def get_state(self, access: SupportAccess) -> str:
        return state_of(access)


class StartedAccessSerializer(SupportAccessSerializer):
    """An access with its token, for the administrator alone."""

    token = serializers.SerializerMethodField(
        help_text="The Bearer token of the access, or null while it waits for consent."
    )

    class Meta(SupportAccessSerializer.Meta):
        fields: Any = (*SupportAccessSerializer.Meta.fields, "token")
        read_only_fields: Any = fields

    def get_token(self, access: SupportAccess) -> str | None:
        token: str | None = self.context.get("token")
        return token


class NewSupportAccessSerializer(serializers.Serializer[Any]):
    reason = TextField(max_length=500, help_text="Why. The customer and the record show it.")
    ticket = TextField(max_length=200, required=False, allow_blank=True, default="")
    minutes = WholeNumberField(min_value=1, max_value=LONGEST, required=False, default=30)
    scope = serializers.ChoiceField(choices=SCOPES, required=False, default="read")
    organization_id = TextField(
        max_length=64,
        required=False,
        allow_null=True,
        default=None,
        help_text="One of the user's organizations. Required if there are several.",
    )
