from __future__ import annotations

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from dovetail_core.models import uuid7

# Principals and organizations are stored as text and not as foreign keys: their keys may have any type, and rows must
# survive the deletion of a user.
KEY_LENGTH = 200
# Names of jobs and metrics. A permission is "run_job." and the name, and codenames of permissions have 100 characters.
NAME_LENGTH = 92


class JobState(models.TextChoices):
    QUEUED = "queued", _("queued")
    RUNNING = "running", _("running")
    RETRYING = "retrying", _("retrying")
    SUCCEEDED = "succeeded", _("succeeded")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")
    LOST = "lost", _("lost")


class Job(models.Model):
    """A run of a registered job. Change it with the services, whose updates compare ``rank`` and ``attempt``."""

    # Also the id of the task in the queue, so that a signal of a worker names its row.
    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    name = models.CharField(_("name"), max_length=NAME_LENGTH)
    # As validated. Workers get these.
    parameters = models.JSONField(_("parameters"), default=dict, encoder=DjangoJSONEncoder, editable=False)
    # Without secrets. People see these.
    shown_parameters = models.JSONField(_("parameters"), default=dict, encoder=DjangoJSONEncoder)
    state = models.CharField(_("state"), max_length=10, choices=JobState, default=JobState.QUEUED)
    # 0 queued, 1 running and retrying, 2 final, 3 final and retried. jobs/states.py has the names.
    rank = models.PositiveSmallIntegerField(_("rank"), default=0, editable=False)
    attempt = models.PositiveIntegerField(_("attempt"), default=0)
    requested_by = models.CharField(_("requested by"), max_length=KEY_LENGTH, blank=True, default="")
    reason = models.TextField(_("reason"), blank=True, default="")
    organization_key = models.CharField(_("organization"), max_length=KEY_LENGTH, null=True, blank=True)  # noqa: DJ001  # None: the job concerns no single organization
    progress_done = models.BigIntegerField(_("done"), null=True, blank=True)
    progress_total = models.BigIntegerField(_("total"), null=True, blank=True)
    progress_text = models.CharField(_("progress"), max_length=200, blank=True, default="")
    # At most 8 KB of JSON.
    result = models.JSONField(_("result"), null=True, blank=True, encoder=DjangoJSONEncoder)
    error_type = models.CharField(_("type of the error"), max_length=200, blank=True, default="")
    # Without a traceback, whose values may be secrets.
    error_text = models.CharField(_("error"), max_length=500, blank=True, default="")
    queued_at = models.DateTimeField(_("queued at"), default=timezone.now)
    # When the sweep publishes it, unless a worker has started it: after a failed attempt, or if a message was lost.
    publish_at = models.DateTimeField(_("next publication at"), null=True, blank=True, editable=False)
    started_at = models.DateTimeField(_("started at"), null=True, blank=True)
    heartbeat_at = models.DateTimeField(_("last heartbeat at"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)
    cancel_requested_at = models.DateTimeField(_("cancellation requested at"), null=True, blank=True)
    retry_of = models.UUIDField(_("retry of"), null=True, blank=True)
    # A hash of the key that only one live job may have. Empty: any number of them may be live.
    unique_key = models.CharField(_("unique key"), max_length=64, blank=True, default="", editable=False)
    # The unique key while the job is live or lost, so that one exists. MariaDB has no partial constraints.
    live_key = models.CharField(_("live key"), max_length=64, null=True, blank=True, editable=False)  # noqa: DJ001  # NULLs are not equal

    class Meta:
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["name", "live_key"], name="dovetail_adminapi_one_live_job"),
        ]
        indexes = [
            models.Index(fields=["name", "id"], name="adminapi_job_name"),
            models.Index(fields=["state", "id"], name="adminapi_job_state"),
            # The sweep: running jobs without a heartbeat, and queued ones without a message.
            models.Index(fields=["state", "heartbeat_at"], name="adminapi_job_live"),
            models.Index(fields=["publish_at"], name="adminapi_job_due"),
            models.Index(fields=["finished_at"], name="adminapi_job_finished"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.id}"


class MetricPoint(models.Model):
    """The value of a metric on one day in UTC, for one organization or for all."""

    id = models.BigAutoField(_("id"), primary_key=True)
    metric = models.CharField(_("metric"), max_length=NAME_LENGTH)
    day = models.DateField(_("day"))
    # Empty for all organizations. Not NULL, because NULLs are not equal and days would repeat.
    organization_key = models.CharField(_("organization"), max_length=KEY_LENGTH, blank=True, default="")
    value = models.BigIntegerField(_("value"))

    class Meta:
        verbose_name = _("point of a metric")
        verbose_name_plural = _("points of metrics")
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["metric", "organization_key", "day"], name="dovetail_adminapi_one_point"),
        ]

    def __str__(self) -> str:
        return f"{self.metric} {self.day}"


class MetricState(models.Model):
    """Up to which day in UTC the points of a metric are complete."""

    metric = models.CharField(_("metric"), max_length=NAME_LENGTH, primary_key=True)
    last_day = models.DateField(_("last day"), null=True, blank=True)
    computed_at = models.DateTimeField(_("computed at"), null=True, blank=True)

    class Meta:
        verbose_name = _("state of a metric")
        verbose_name_plural = _("states of metrics")
        default_permissions = ()

    def __str__(self) -> str:
        return self.metric


class SupportScope(models.TextChoices):
    READ = "read", _("read")
    WRITE = "write", _("write")


class SupportAccess(models.Model):
    """The access of an administrator to the account of a user, for support. Change it with the services."""

    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    admin_key = models.CharField(_("administrator"), max_length=KEY_LENGTH)
    user_key = models.CharField(_("user"), max_length=KEY_LENGTH)
    organization_key = models.CharField(_("organization"), max_length=KEY_LENGTH, blank=True, default="")
    reason = models.TextField(_("reason"))
    ticket = models.CharField(_("ticket"), max_length=200, blank=True, default="")
    scope = models.CharField(_("scope"), max_length=5, choices=SupportScope, default=SupportScope.READ)
    minutes = models.PositiveSmallIntegerField(_("minutes"))
    requested_at = models.DateTimeField(_("requested at"), default=timezone.now)
    approved_by = models.CharField(_("approved by"), max_length=KEY_LENGTH, blank=True, default="")
    approved_at = models.DateTimeField(_("approved at"), null=True, blank=True)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    started_at = models.DateTimeField(_("started at"), null=True, blank=True)
    ended_at = models.DateTimeField(_("ended at"), null=True, blank=True)

    class Meta:
        verbose_name = _("support access")
        verbose_name_plural = _("support accesses")
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                condition=Q(minutes__gte=1) & Q(minutes__lte=60), name="dovetail_adminapi_access_minutes"
            ),
        ]
        indexes = [
            models.Index(fields=["user_key", "id"], name="adminapi_access_user"),
            models.Index(fields=["admin_key", "id"], name="adminapi_access_admin"),
        ]

    def __str__(self) -> str:
        return f"{self.admin_key} as {self.user_key}"


class AdminPermission(models.Model):
    """The content type of the permissions of the admin API. It has no table."""

    id = models.BigAutoField(_("id"), primary_key=True)

    class Meta:
        managed = False
        verbose_name = _("admin API")
        verbose_name_plural = _("admin API")
        default_permissions = ()
        # Those of resources and jobs are created after each migrate, because settings and code name them.
        permissions = [
            ("view_schema", _("Can read the documentation of the admin API")),
            ("view_metrics", _("Can read metrics")),
            ("view_job", _("Can read jobs")),
            ("cancel_job", _("Can cancel jobs")),
            ("retry_job", _("Can start jobs again that failed")),
            ("impersonate", _("Can request access to the account of a user")),
            ("view_support_access", _("Can read accesses to accounts of users")),
            ("end_support_access", _("Can end the access of another administrator")),
        ]

    def __str__(self) -> str:
        return "admin API"
