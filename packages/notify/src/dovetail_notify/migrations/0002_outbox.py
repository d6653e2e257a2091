from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

from dovetail_core.models import TargetingMigration, dependency, target


class Migration(TargetingMigration):
    initial = True

    dependencies = [
        ("dovetail_notify", "0001_notification"),
        dependency("AUTH_USER_MODEL"),
        dependency("NOTIFY_NOTIFICATION_MODEL"),
    ]

    operations = [
        migrations.CreateModel(
            name="Delivery",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False, verbose_name="id")),
                ("channel", models.CharField(max_length=20, verbose_name="channel")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("held", "waiting for a digest"),
                            ("sent", "sent"),
                            ("suppressed", "not needed"),
                            ("dead", "failed"),
                        ],
                        default="pending",
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                (
                    "digest",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("on", "at once"),
                            ("off", "never"),
                            ("hourly", "in an hourly digest"),
                            ("daily", "in a daily digest"),
                        ],
                        default="",
                        max_length=8,
                        verbose_name="digest",
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0, verbose_name="attempts")),
                ("next_at", models.DateTimeField(blank=True, db_index=True, null=True, verbose_name="next attempt at")),
                ("lease", models.UUIDField(blank=True, editable=False, null=True, verbose_name="lease")),
                ("sent_at", models.DateTimeField(blank=True, null=True, verbose_name="sent at")),
                ("provider_id", models.CharField(blank=True, default="", max_length=200, verbose_name="provider ID")),
                ("error", models.CharField(blank=True, default="", max_length=200, verbose_name="error")),
                (
                    "notification",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=target("NOTIFY_NOTIFICATION_MODEL"),
                        verbose_name="notification",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=["notification", "channel"], name="dovetail_notify_delivery_once")
                ],
                "verbose_name": "delivery",
                "verbose_name_plural": "deliveries",
            },
        ),
        migrations.CreateModel(
            name="Device",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False, verbose_name="id")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("fcm", "Android or web app (FCM)"),
                            ("apns", "iPhone, iPad or Mac (APNs)"),
                            ("web", "browser (Web Push)"),
                        ],
                        max_length=8,
                        verbose_name="kind",
                    ),
                ),
                (
                    "token",
                    models.TextField(
                        help_text="The registration token, or the endpoint's address.", verbose_name="token"
                    ),
                ),
                (
                    "token_hash",
                    models.CharField(editable=False, max_length=64, unique=True, verbose_name="hash of the token"),
                ),
                ("keys", models.JSONField(blank=True, default=dict, verbose_name="keys")),
                ("name", models.CharField(blank=True, default="", max_length=100, verbose_name="name")),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created at")),
                (
                    "retired_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="When the push service reported that the device is gone.",
                        null=True,
                        verbose_name="retired at",
                    ),
                ),
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
            options={
                "verbose_name": "device",
                "verbose_name_plural": "devices",
            },
        ),
        migrations.CreateModel(
            name="OrganizationPreference",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False, verbose_name="id")),
                ("organization_key", models.CharField(max_length=64, verbose_name="organization")),
                ("type", models.CharField(default="*", max_length=100, verbose_name="type")),
                ("channel", models.CharField(max_length=20, verbose_name="channel")),
                (
                    "mode",
                    models.CharField(
                        choices=[
                            ("on", "at once"),
                            ("off", "never"),
                            ("hourly", "in an hourly digest"),
                            ("daily", "in a daily digest"),
                        ],
                        max_length=8,
                        verbose_name="mode",
                    ),
                ),
            ],
            options={
                "verbose_name": "organization preference",
                "verbose_name_plural": "organization preferences",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization_key", "type", "channel"),
                        name="dovetail_notify_organization_preference_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Preference",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False, verbose_name="id")),
                (
                    "organization_key",
                    models.CharField(blank=True, default="", max_length=64, verbose_name="organization"),
                ),
                ("type", models.CharField(default="*", max_length=100, verbose_name="type")),
                ("channel", models.CharField(max_length=20, verbose_name="channel")),
                (
                    "mode",
                    models.CharField(
                        choices=[
                            ("on", "at once"),
                            ("off", "never"),
                            ("hourly", "in an hourly digest"),
                            ("daily", "in a daily digest"),
                        ],
                        max_length=8,
                        verbose_name="mode",
                    ),
                ),
                ("specificity", models.PositiveSmallIntegerField(editable=False, verbose_name="specificity")),
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
            options={
                "indexes": [models.Index(fields=["type", "channel"], name="notify_preference_type")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=["user", "channel", "type", "organization_key"], name="dovetail_notify_preference_once"
                    )
                ],
                "verbose_name": "preference",
                "verbose_name_plural": "preferences",
            },
        ),
        migrations.CreateModel(
            name="Ticket",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False, verbose_name="id")),
                ("digest", models.CharField(max_length=64, unique=True, verbose_name="digest")),
                ("organization_key", models.CharField(max_length=64, null=True, verbose_name="organization")),
                ("session", models.CharField(blank=True, default="", max_length=64, verbose_name="session")),
                ("origin", models.CharField(blank=True, default="", max_length=200, verbose_name="origin")),
                ("credential_expires_at", models.DateTimeField(null=True, verbose_name="credential expires at")),
                ("expires_at", models.DateTimeField(db_index=True, verbose_name="expires at")),
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
            options={
                "verbose_name": "ticket",
                "verbose_name_plural": "tickets",
            },
        ),
    ]
