from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import dovetail_core.models
from dovetail_core.models import TargetingMigration, dependency, target


class Migration(TargetingMigration):
    initial = True

    dependencies = [dependency("AUTH_USER_MODEL")]

    operations = [
        migrations.CreateModel(
            name="Organization",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=dovetail_core.models.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("name", models.CharField(max_length=200, verbose_name="name")),
                ("slug", models.SlugField(max_length=100, unique=True, verbose_name="slug")),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created at")),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated at")),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=target("AUTH_USER_MODEL"),
                        verbose_name="owner",
                    ),
                ),
            ],
            options={
                "verbose_name": "organization",
                "verbose_name_plural": "organizations",
                "abstract": False,
                "swappable": "TENANCY_ORGANIZATION_MODEL",
            },
        ),
    ]
