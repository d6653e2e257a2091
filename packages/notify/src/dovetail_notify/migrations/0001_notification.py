from __future__ import annotations

import django.db.models.deletion
from django.core.serializers.json import DjangoJSONEncoder
from django.db import migrations, models

from dovetail_core.models import TargetingMigration, dependency, target
from dovetail_notify.base import UnreadIndex


class Migration(TargetingMigration):
    initial = True

    dependencies = [dependency("AUTH_USER_MODEL")]

    operations = [
        migrations.CreateModel(
            name="Notification",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False, verbose_name="id")),
                (
                    "organization_key",
                    models.CharField(blank=True, max_length=64, null=True, verbose_name="organization"),
                ),
                ("type", models.CharField(max_length=100, verbose_name="type")),
                ("title", models.CharField(max_length=200, verbose_name="title")),
                ("body", models.TextField(blank=True, default="", verbose_name="body")),
                ("target_url", models.CharField(blank=True, default="", max_length=1000, verbose_name="target")),
                ("payload", models.JSONField(default=dict, encoder=DjangoJSONEncoder, verbose_name="payload")),
                ("payload_version", models.PositiveSmallIntegerField(default=1, verbose_name="version of the payload")),
                ("actor_key", models.CharField(blank=True, default="", max_length=64, verbose_name="actor")),
                ("collapse_key", models.CharField(blank=True, default="", max_length=200, verbose_name="collapse key")),
                ("batch", models.UUIDField(verbose_name="batch")),
                ("dedupe_key", models.CharField(blank=True, max_length=150, null=True, verbose_name="dedupe key")),
                ("created_at", models.DateTimeField(verbose_name="created at")),
                ("seen_at", models.DateTimeField(blank=True, null=True, verbose_name="seen at")),
                ("read_at", models.DateTimeField(blank=True, null=True, verbose_name="read at")),
                ("archived_at", models.DateTimeField(blank=True, null=True, verbose_name="archived at")),
                (
                    "recipient",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=target("AUTH_USER_MODEL"),
                        verbose_name="recipient",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["recipient", "-id"], name="notify_inbox"),
                    UnreadIndex(name="notify_unread"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=["recipient", "dedupe_key"], name="dovetail_notify_notification_dedupe"
                    )
                ],
                "verbose_name": "notification",
                "verbose_name_plural": "notifications",
                "abstract": False,
                "swappable": "NOTIFY_NOTIFICATION_MODEL",
            },
        ),
    ]
