from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import dovetail_core.models
from dovetail_core.models import TargetingMigration, dependency, target


class Migration(TargetingMigration):
    dependencies = [
        ("dovetail_tenancy", "0002_membership"),
        dependency("AUTH_USER_MODEL"),
        dependency("TENANCY_ORGANIZATION_MODEL"),
    ]

    operations = [
        migrations.CreateModel(
            name="Invitation",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=dovetail_core.models.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("email", models.EmailField(max_length=254, verbose_name="email address")),
                ("role", models.CharField(max_length=50, verbose_name="role")),
                (
                    "bounded",
                    models.BooleanField(
                        default=True,
                        editable=False,
                        help_text="Whether the inviter must still be able to grant the role when the invitation is accepted.",
                        verbose_name="limited by the inviter's role",
                    ),
                ),
                ("token_hash", models.CharField(editable=False, max_length=64, unique=True, verbose_name="token hash")),
                (
                    "pending_key",
                    models.CharField(
                        editable=False, max_length=64, null=True, unique=True, verbose_name="pending key"
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created at")),
                ("expires_at", models.DateTimeField(db_index=True, verbose_name="expires at")),
                ("accepted_at", models.DateTimeField(blank=True, null=True, verbose_name="accepted at")),
                ("declined_at", models.DateTimeField(blank=True, null=True, verbose_name="declined at")),
                ("revoked_at", models.DateTimeField(blank=True, null=True, verbose_name="revoked at")),
                (
                    "invited_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=target("AUTH_USER_MODEL"),
                        verbose_name="invited by",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=target("TENANCY_ORGANIZATION_MODEL"),
                        verbose_name="organization",
                    ),
                ),
            ],
            options={"verbose_name": "invitation", "verbose_name_plural": "invitations"},
        ),
    ]
