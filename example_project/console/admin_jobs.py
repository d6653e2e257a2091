"""Jobs that administrators start in the admin API."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management import call_command
from rest_framework import serializers

from dovetail_adminapi import admin_job
from dovetail_audit.services import run_verification


class PurgeSerializer(serializers.Serializer[Any]):
    command = serializers.ChoiceField(choices=settings.PURGE_COMMANDS)


@admin_job("purge", parameters=PurgeSerializer, unique=lambda parameters: parameters["command"], require_reason=True)
def purge(job: Any, *, command: str) -> None:
    """Delete expired rows now, and not at night."""
    call_command(command, verbosity=0)


@admin_job("verify-audit-log", permission="dovetail_audit.verify_entry", unique=True, timeout=6 * 3600)
def verify_audit_log(job: Any) -> dict[str, Any]:
    """Verify all entries. Return ``intact`` or ``tampered``."""
    return {"result": run_verification()}
