from __future__ import annotations

import django.core.serializers.json
import django.utils.timezone
import dovetail_core.models
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="AdminPermission",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False, verbose_name="id")),
            ],
            options={
                "verbose_name": "admin API",
                "verbose_name_plural": "admin API",
                "permissions": [
                    ("view_schema", "Can read the documentation of the admin API"),
                    ("view_metrics", "Can read metrics"),
                    ("view_job", "Can read jobs"),
                    ("cancel_job", "Can cancel jobs"),
                    ("retry_job", "Can start jobs again that failed"),
                    ("impersonate", "Can request access to the account of a user"),
                    ("view_support_access", "Can read accesses to accounts of users"),
                    ("end_support_access", "Can end the access of another administrator"),
                ],
                "managed": False,
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="MetricState",
            fields=[
                ("metric", models.CharField(max_length=92, primary_key=True, serialize=False, verbose_name="metric")),
                ("last_day", models.DateField(blank=True, null=True, verbose_name="last day")),
                ("computed_at", models.DateTimeField(blank=True, null=True, verbose_name="computed at")),
            ],
            options={
                "verbose_name": "state of a metric",
                "verbose_name_plural": "states of metrics",
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Job",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=dovetail_core.models.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="id",
                    ),
                ),
                ("name", models.CharField(max_length=92, verbose_name="name")),
                (
                    "parameters",
                    models.JSONField(
                        default=dict,
                        editable=False,
                        encoder=django.core.serializers.json.DjangoJSONEncoder,
                        verbose_name="parameters",
                    ),
                ),
                (
                    "shown_parameters",
                    models.JSONField(
                        default=dict, encoder=django.core.serializers.json.DjangoJSONEncoder, verbose_name="parameters"
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "queued"),
                            ("running", "running"),
                            ("retrying", "retrying"),
                            ("succeeded", "succeeded"),
                            ("failed", "failed"),
                            ("cancelled", "cancelled"),
                            ("lost", "lost"),
                        ],
                        default="queued",
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                ("rank", models.PositiveSmallIntegerField(default=0, editable=False, verbose_name="rank")),
                ("attempt", models.PositiveIntegerField(default=0, verbose_name="attempt")),
                ("requested_by", models.CharField(blank=True, default="", max_length=200, verbose_name="requested by")),
                ("reason", models.TextField(blank=True, default="", verbose_name="reason")),
                (
                    "organization_key",
                    models.CharField(blank=True, max_length=200, null=True, verbose_name="organization"),
                ),
                ("progress_done", models.BigIntegerField(blank=True, null=True, verbose_name="done")),
                ("progress_total", models.BigIntegerField(blank=True, null=True, verbose_name="total")),
                ("progress_text", models.CharField(blank=True, default="", max_length=200, verbose_name="progress")),
                (
                    "result",
                    models.JSONField(
                        blank=True,
                        encoder=django.core.serializers.json.DjangoJSONEncoder,
                        null=True,
                        verbose_name="result",
                    ),
                ),
                (
                    "error_type",
                    models.CharField(blank=True, default="", max_length=200, verbose_name="type of the error"),
                ),
                ("error_text", models.CharField(blank=True, default="", max_length=500, verbose_name="error")),
                ("queued_at", models.DateTimeField(default=django.utils.timezone.now, verbose_name="queued at")),
                (
                    "publish_at",
                    models.DateTimeField(blank=True, editable=False, null=True, verbose_name="next publication at"),
                ),
                ("started_at", models.DateTimeField(blank=True, null=True, verbose_name="started at")),
                ("heartbeat_at", models.DateTimeField(blank=True, null=True, verbose_name="last heartbeat at")),
                ("finished_at", models.DateTimeField(blank=True, null=True, verbose_name="finished at")),
                (
                    "cancel_requested_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="cancellation requested at"),
                ),
                ("retry_of", models.UUIDField(blank=True, null=True, verbose_name="retry of")),
                (
                    "unique_key",
                    models.CharField(blank=True, default="", editable=False, max_length=64, verbose_name="unique key"),
                ),
                (
                    "live_key",
                    models.CharField(blank=True, editable=False, max_length=64, null=True, verbose_name="live key"),
                ),
            ],
            options={
                "verbose_name": "job",
                "verbose_name_plural": "jobs",
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["name", "id"], name="adminapi_job_name"),
                    models.Index(fields=["state", "id"], name="adminapi_job_state"),
                    models.Index(fields=["state", "heartbeat_at"], name="adminapi_job_live"),
                    models.Index(fields=["publish_at"], name="adminapi_job_due"),
                    models.Index(fields=["finished_at"], name="adminapi_job_finished"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("name", "live_key"), name="dovetail_adminapi_one_live_job")
                ],
            },
        ),
        migrations.CreateModel(
            name="MetricPoint",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False, verbose_name="id")),
                ("metric", models.CharField(max_length=92, verbose_name="metric")),
                ("day", models.DateField(verbose_name="day")),
                (
                    "organization_key",
                    models.CharField(blank=True, default="", max_length=200, verbose_name="organization"),
                ),
                ("value", models.BigIntegerField(verbose_name="value")),
            ],
            options={
                "verbose_name": "point of a metric",
                "verbose_name_plural": "points of metrics",
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("metric", "organization_key", "day"), name="dovetail_adminapi_one_point"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="SupportAccess",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=dovetail_core.models.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="id",
                    ),
                ),
                ("admin_key", models.CharField(max_length=200, verbose_name="administrator")),
                ("user_key", models.CharField(max_length=200, verbose_name="user")),
                (
                    "organization_key",
                    models.CharField(blank=True, default="", max_length=200, verbose_name="organization"),
                ),
                ("reason", models.TextField(verbose_name="reason")),
                ("ticket", models.CharField(blank=True, default="", max_length=200, verbose_name="ticket")),
                (
                    "scope",
                    models.CharField(
                        choices=[("read", "read"), ("write", "write")],
                        default="read",
                        max_length=5,
                        verbose_name="scope",
                    ),
                ),
                ("minutes", models.PositiveSmallIntegerField(verbose_name="minutes")),
                ("requested_at", models.DateTimeField(default=django.utils.timezone.now, verbose_name="requested at")),
                ("approved_by", models.CharField(blank=True, default="", max_length=200, verbose_name="approved by")),
                ("approved_at", models.DateTimeField(blank=True, null=True, verbose_name="approved at")),
                ("expires_at", models.DateTimeField(blank=True, null=True, verbose_name="expires at")),
                ("started_at", models.DateTimeField(blank=True, null=True, verbose_name="started at")),
                ("ended_at", models.DateTimeField(blank=True, null=True, verbose_name="ended at")),
            ],
            options={
                "verbose_name": "support access",
                "verbose_name_plural": "support accesses",
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["user_key", "id"], name="adminapi_access_user"),
                    models.Index(fields=["admin_key", "id"], name="adminapi_access_admin"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("minutes__gte", 1), ("minutes__lte", 60)),
                        name="dovetail_adminapi_access_minutes",
                    )
                ],
            },
        ),
    ]
