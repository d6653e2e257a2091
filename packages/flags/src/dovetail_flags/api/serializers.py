"""Representations, and the documentation of bodies. The services validate what is written, and report all mistakes."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from dovetail_core.rest.fields import FIELD_MAPPING, FlagField, TextField, WholeNumberField
from dovetail_flags.base import CHANGEABLE, get_flag_model
from dovetail_flags.lifecycle.stale import is_stale
from dovetail_flags.models import FlagRevision


class EvaluationSerializer(serializers.Serializer[Any]):
    """A flag that clients may read, evaluated for the caller."""

    key = serializers.CharField()
    type = serializers.CharField(help_text="boolean, string, integer, number or object")
    value = serializers.JSONField(help_text="A value of the type.")
    variant = serializers.CharField(allow_null=True, help_text="The name of the value.")
    reason = serializers.CharField(help_text="STATIC, TARGETING_MATCH, SPLIT, DEFAULT, DISABLED, UNKNOWN or ERROR")


class FlagSerializer(serializers.ModelSerializer[Any]):
    serializer_field_mapping = FIELD_MAPPING
    # Not a choice field: drf-spectacular would give it the name of a project's own `type` enum.
    type = serializers.CharField(read_only=True, help_text="boolean, string, integer, number or object")
    stale = serializers.SerializerMethodField(help_text="Whether the flag has expired, or is temporary and unchanged.")

    class Meta:
        model = get_flag_model()
        fields = ("id", "key", "type", *CHANGEABLE, "archived_at", "stale", "version", "created_at", "updated_at")
        read_only_fields = fields

    def get_stale(self, flag: Any) -> bool:
        return is_stale(flag)


class ReasonSerializer(serializers.Serializer[Any]):
    reason = TextField(max_length=1000, allow_blank=True, required=False, default="", help_text="Why, for the history.")


class RevertSerializer(ReasonSerializer):
    version = WholeNumberField(min_value=1, help_text="The version whose content the flag gets.")


class FlagUpdateSerializer(ReasonSerializer):
    """Documents the members of a change. ``services`` validates them."""

    name = TextField(max_length=200, allow_blank=True, required=False)
    description = TextField(allow_blank=True, required=False)
    variants = serializers.DictField(
        child=serializers.JSONField(allow_null=True), required=False, help_text="Names and values."
    )
    enabled = FlagField(required=False)
    off_variant = TextField(max_length=100, required=False, help_text="The variant while the flag is disabled.")
    default_variant = TextField(max_length=100, required=False, help_text="The variant if no rule matches.")
    rules = serializers.ListField(child=serializers.DictField(), required=False, help_text="The first match wins.")
    client_visible = FlagField(required=False, help_text="Whether browsers and apps can read the value.")
    owner = TextField(max_length=200, allow_blank=True, required=False)
    tags = serializers.ListField(child=TextField(max_length=50), required=False)
    temporary = FlagField(required=False, help_text="Whether the flag is to be removed, as after a rollout.")
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class NewFlagSerializer(FlagUpdateSerializer):
    key = TextField(max_length=100)
    type = TextField(help_text="boolean, string, integer, number or object")


class ContextSerializer(serializers.Serializer[Any]):
    """``{"targeting_key": …, "attributes": {…}}``, as ``FLAGS_CONTEXT`` returns them."""

    targeting_key = TextField(max_length=200, allow_null=True, required=False, default=None)
    attributes = serializers.DictField(child=serializers.JSONField(allow_null=True), required=False, default=dict)


class EvaluateSerializer(serializers.Serializer[Any]):
    """One ``context``, or up to 100 ``contexts``. ``changes`` are members of the flag that are not saved yet."""

    context = ContextSerializer(required=False)  # type: ignore[assignment]  # replaces an attribute of serializers
    contexts = serializers.ListField(child=ContextSerializer(), required=False, min_length=1, max_length=100)
    changes = serializers.DictField(child=serializers.JSONField(allow_null=True), required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("context" in attrs) == ("contexts" in attrs):
            raise serializers.ValidationError("Send either context or contexts.")
        return attrs


class StepSerializer(serializers.Serializer[Any]):
    rule = serializers.CharField()
    outcome = serializers.CharField(help_text="matched, condition, schedule or no_key")
    condition = serializers.JSONField(allow_null=True, help_text="The first condition that does not hold.")
    bucket = serializers.IntegerField(allow_null=True, help_text="The bucket of a percentage, from 0 to 99 999.")


class ExplanationSerializer(serializers.Serializer[Any]):
    value = serializers.JSONField(source="details.value")
    variant = serializers.CharField(allow_null=True, source="details.variant")
    reason = serializers.CharField(source="details.reason")
    error = serializers.CharField(
        allow_null=True, source="details.error", help_text="PARSE_ERROR if the stored flag is invalid."
    )
    rule = serializers.CharField(allow_null=True, source="details.rule")
    steps = StepSerializer(many=True)


class ComparisonSerializer(serializers.Serializer[Any]):
    """The evaluation of the stored flag, and with ``changes``. Without changes, ``after`` is null."""

    before = ExplanationSerializer()
    after = ExplanationSerializer(allow_null=True)
    changed = serializers.BooleanField(help_text="Whether the value differs.")


class RevisionSerializer(serializers.ModelSerializer[Any]):
    flag = serializers.JSONField(source="snapshot", read_only=True, help_text="The flag after the change.")
    actor = serializers.CharField(source="actor_key", read_only=True, help_text="The primary key of who changed it.")

    class Meta:
        model = FlagRevision
        fields = ("id", "version", "event", "changes", "actor", "reason", "at", "flag")
        read_only_fields = fields
