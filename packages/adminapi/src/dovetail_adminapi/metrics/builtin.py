"""The metrics that every project has: users and jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from dovetail_adminapi.metrics.registry import Metric
from dovetail_adminapi.models import Job, JobState


def users() -> QuerySet[Any]:
    # Not the default manager, which may hide users or read those of one tenant.
    return get_user_model()._base_manager.all()


def active_users(start: datetime, end: datetime) -> QuerySet[Any]:
    return users().filter(last_login__gte=start, last_login__lt=end)


def _has(name: str) -> bool:
    try:
        get_user_model()._meta.get_field(name)
    except (FieldDoesNotExist, ImproperlyConfigured):  # Django's own checks report a missing user model
        return False
    return True


def jobs_in(state: JobState) -> QuerySet[Job]:
    return Job.objects.filter(state=state)


Metric("users.total", label=_("Users"), total=users)
if _has("date_joined"):
    Metric("users.new", label=_("New users"), per_day=users, at="date_joined")
if _has("last_login"):
    Metric("users.active", label=_("Users who signed in"), nightly=active_users)
Metric("jobs.queued", label=_("Queued jobs"), live=lambda: jobs_in(JobState.QUEUED))
Metric("jobs.retrying", label=_("Jobs that wait for another attempt"), live=lambda: jobs_in(JobState.RETRYING))
Metric("jobs.running", label=_("Running jobs"), live=lambda: jobs_in(JobState.RUNNING))
Metric(
    "jobs.oldest_queued",
    label=_("Age of the oldest queued job (s)"),
    live=lambda: jobs_in(JobState.QUEUED),
    age="queued_at",
)
Metric("jobs.new", label=_("New jobs"), per_day=Job.objects.all, at="queued_at")
Metric("jobs.failed", label=_("Failed jobs"), per_day=lambda: jobs_in(JobState.FAILED), at="finished_at")
Metric("jobs.lost", label=_("Lost jobs"), per_day=lambda: jobs_in(JobState.LOST), at="finished_at")
