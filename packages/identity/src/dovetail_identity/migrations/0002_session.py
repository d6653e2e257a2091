from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import dovetail_core.models
from dovetail_core.models import TargetingMigration, dependency, target


class Migration(TargetingMigration):
    dependencies = [("dovetail_identity", "0001_initial"), dependency("AUTH_USER_MODEL")]

    operations = [
        migrations.CreateModel(
            name="Session",
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
                ("generation", models.PositiveIntegerField(default=0, verbose_name="generation")),
                ("device", models.CharField(blank=True, max_length=100, verbose_name="device")),
                ("address", models.GenericIPAddressField(blank=True, null=True, verbose_name="address")),
                ("created_at", models.DateTimeField(verbose_name="created at")),
                ("last_used_at", models.DateTimeField(verbose_name="last used at")),
                ("rotated_at", models.DateTimeField(verbose_name="rotated at")),
                ("expires_at", models.DateTimeField(db_index=True, verbose_name="expires at")),
                ("revoked_at", models.DateTimeField(blank=True, null=True, verbose_name="revoked at")),
                ("revoked_reason", models.CharField(blank=True, max_length=32, verbose_name="reason")),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=target("AUTH_USER_MODEL"),
                        verbose_name="user",
                    ),
                ),
            ],
            options={"verbose_name": "session", "verbose_name_plural": "sessions"},
        ),
    ]
