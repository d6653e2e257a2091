from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import dovetail_core.models
from dovetail_core.models import TargetingMigration, dependency, target


class Migration(TargetingMigration):
    initial = True
    dependencies = [
        dependency("AUTH_USER_MODEL"),
        dependency("API_KEYS_ORGANIZATION_MODEL"),
    ]

    operations = [
        migrations.CreateModel(
            name="APIKey",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=dovetail_core.models.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("name", models.CharField(max_length=100, verbose_name="name")),
                ("key_prefix", models.CharField(editable=False, max_length=64, unique=True, verbose_name="prefix")),
                ("hashed_key", models.CharField(editable=False, max_length=256, verbose_name="hash")),
                ("scopes", models.TextField(blank=True, default="", verbose_name="scopes")),
                (
                    "allowed_networks",
                    models.TextField(
                        blank=True,
                        default="",
                        help_text="Where it may be used from; empty for anywhere.",
                        verbose_name="allowed networks",
                    ),
                ),
                (
                    "rate_limit",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="Such as 600/min; empty for the usual one.",
                        max_length=20,
                        verbose_name="rate limit",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created at")),
                ("last_used", models.DateTimeField(blank=True, editable=False, null=True, verbose_name="last used")),
                (
                    "last_used_ip",
                    models.GenericIPAddressField(
                        blank=True, editable=False, null=True, verbose_name="last used from"
                    ),
                ),
                ("used_networks", models.TextField(blank=True, default="", editable=False, verbose_name="used from")),
                ("expires_at", models.DateTimeField(blank=True, null=True, verbose_name="expires at")),
                ("revoked_at", models.DateTimeField(blank=True, editable=False, null=True, verbose_name="revoked at")),
                (
                    "rotated_from",
                    models.UUIDField(blank=True, editable=False, null=True, unique=True, verbose_name="rotated from"),
                ),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=target("AUTH_USER_MODEL"),
                        verbose_name="created by",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=target("API_KEYS_ORGANIZATION_MODEL"),
                        verbose_name="organization",
                    ),
                ),
            ],
            options={
                "verbose_name": "API key",
                "verbose_name_plural": "API keys",
                "abstract": False,
                "swappable": "API_KEYS_MODEL",
            },
        ),
    ]
