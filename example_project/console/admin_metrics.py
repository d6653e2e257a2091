"""The figures of this service that administrators see, besides those of users and jobs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from dovetail_adminapi import Metric
from dovetail_apikeys import get_api_key_model
from dovetail_audit.models import Entry
from dovetail_flags import get_flag_model
from dovetail_notify.models import Delivery
from dovetail_tenancy import get_organization_model

#: The largest number of days until an expiry that counts as soon.
SOON = timedelta(days=30)


def organizations() -> QuerySet[Any]:
    return get_organization_model()._base_manager.all()


def live_api_keys() -> QuerySet[Any]:
    return get_api_key_model()._base_manager.filter(revoked_at=None)


def expiring_api_keys() -> QuerySet[Any]:
    now = timezone.now()
    return live_api_keys().filter(expires_at__gt=now, expires_at__lte=now + SOON)


def enabled_flags() -> QuerySet[Any]:
    return get_flag_model()._base_manager.filter(enabled=True, archived_at=None)


def stale_flags() -> QuerySet[Any]:
    limit = timezone.now() - timedelta(days=getattr(settings, "FLAGS_STALE_DAYS", 30))
    return get_flag_model()._base_manager.filter(temporary=True, archived_at=None, updated_at__lt=limit)


def entries(action: str) -> QuerySet[Entry]:
    return Entry.objects.filter(action=action)


Metric("organizations.total", total=organizations)
Metric("organizations.new", per_day=organizations, at="created_at")
Metric("api_keys.live", total=live_api_keys)
Metric("api_keys.expiring", live=expiring_api_keys)
Metric("flags.enabled", live=enabled_flags)
Metric("flags.stale", live=stale_flags)
Metric("admin.denied", label="Refused calls of the admin API", per_day=lambda: entries("admin.denied"), at="at")
Metric("sign_ins.failed", label="Failed sign-ins", per_day=lambda: entries("user.sign_in_failed"), at="at")
# By an index: NULL when nothing is left to do.
Metric("notifications.queued", live=lambda: Delivery.objects.filter(next_at__isnull=False))
