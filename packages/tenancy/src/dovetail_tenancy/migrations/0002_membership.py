from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import dovetail_core.models
from dovetail_core.models import TargetingMigration, dependency, target
from dovetail_tenancy.conf import membership_path


class Migration(TargetingMigration):
    # Apart from the organization: a replaced membership needs the organization to exist, and `members` needs the
    # membership to exist.
    dependencies = [
        ("dovetail_tenancy", "0001_organization"),
        dependency("AUTH_USER_MODEL"),
        dependency("TENANCY_ORGANIZATION_MODEL"),
        dependency("TENANCY_MEMBERSHIP_MODEL"),
    ]

    operations = [
        migrations.CreateModel(
            name="Membership",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=dovetail_core.models.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("role", models.CharField(max_length=50, verbose_name="role")),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created at")),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=target("TENANCY_ORGANIZATION_MODEL"),
                        verbose_name="organization",
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
                "verbose_name": "membership",
                "verbose_name_plural": "memberships",
                "abstract": False,
                "swappable": "TENANCY_MEMBERSHIP_MODEL",
            },
        ),
        migrations.AddConstraint(
            model_name="membership",
            constraint=models.UniqueConstraint(
                fields=("organization", "user"), name="dovetail_tenancy_membership_once"
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="members",
            field=models.ManyToManyField(
                related_name="+",
                through=target("TENANCY_MEMBERSHIP_MODEL"),
                through_fields=(membership_path("organization"), membership_path("user")),
                to=target("AUTH_USER_MODEL"),
                verbose_name="members",
            ),
        ),
    ]
