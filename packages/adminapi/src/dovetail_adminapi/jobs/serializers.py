"""Representations of jobs, and the body of a request for one."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from dovetail_adminapi.jobs.services import MAX_REASON
from dovetail_adminapi.jobs.states import shown_state
from dovetail_adminapi.models import NAME_LENGTH, Job, JobState
from dovetail_core.rest.fields import TextField


class ProgressSerializer(serializers.Serializer[Any]):
    done = serializers.IntegerField(source="progress_done", allow_null=True)
    total = serializers.IntegerField(source="progress_total", allow_null=True)
    text = serializers.CharField(source="progress_text")


class ErrorSerializer(serializers.Serializer[Any]):
    type = serializers.CharField(source="error_type", help_text="The class of the exception.")
    text = serializers.CharField(source="error_text", help_text="Its text, without secrets.")

    def to_representation(self, job: Job) -> Any:
        return super().to_representation(job) if job.error_type else None


class JobSerializer(serializers.ModelSerializer[Job]):
    # Not a choice field: drf-spectacular would give it the name of a project's own `state` enum.
    state = serializers.SerializerMethodField(help_text=", ".join(JobState.values))
    parameters = serializers.JSONField(source="shown_parameters", read_only=True, help_text="Without secrets.")
    organization_id = serializers.CharField(source="organization_key", allow_null=True, read_only=True)
    progress = ProgressSerializer(source="*", read_only=True)
    error = ErrorSerializer(source="*", read_only=True, allow_null=True)

    class Meta:
        model = Job
        fields = (
            "id", "name", "state", "parameters", "attempt", "requested_by", "reason", "organization_id", "progress",
            "result", "error", "queued_at", "started_at", "heartbeat_at", "finished_at", "cancel_requested_at",
            "retry_of",
        )  # fmt: skip
        read_only_fields = fields

    def get_state(self, job: Job) -> str:
        return shown_state(job)


class ReasonSerializer(serializers.Serializer[Any]):
    reason = TextField(
        max_length=MAX_REASON, required=False, default="", allow_blank=True, help_text="Why, for the record."
    )


class ParametersField(serializers.DictField):
    """A JSON object that the serializer of the job validates."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            self.fail("not_a_dict", input_type=type(data).__name__)
        return data


class NewJobSerializer(ReasonSerializer):
    name = TextField(max_length=NAME_LENGTH)
    parameters = ParametersField(required=False, default=dict, help_text="As `GET jobs/definitions` describes them.")


class DefinitionSerializer(serializers.Serializer[Any]):
    """A job that can be started."""

    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # a field, not the label of this one
    allowed = serializers.BooleanField(help_text="Whether the caller may start it.")
    reauthenticate = serializers.BooleanField(help_text="Whether it requires a recent sign-in.")
    require_reason = serializers.BooleanField()
    unique = serializers.BooleanField(help_text="Whether only one live job may exist.")
    timeout = serializers.IntegerField(help_text="Seconds.")
    killable = serializers.BooleanField(help_text="Whether a cancellation ends the process of a running job.")
    parameters = serializers.JSONField(help_text="A JSON Schema (draft 2020-12).")
