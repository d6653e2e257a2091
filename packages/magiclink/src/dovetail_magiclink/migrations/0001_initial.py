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
            name="MagicLink",
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
                ("email", models.EmailField(max_length=254, verbose_name="email address")),
                (
                    "address_key",
                    models.CharField(db_index=True, editable=False, max_length=64, verbose_name="address key"),
                ),
                (
                    "pending_key",
                    models.CharField(
                        editable=False, max_length=64, null=True, unique=True, verbose_name="pending key"
                    ),
                ),
                (
                    "code_hash",
                    models.CharField(editable=False, max_length=64, null=True, unique=True, verbose_name="code hash"),
                ),
                (
                    "key_hash",
                    models.CharField(editable=False, max_length=64, null=True, unique=True, verbose_name="key hash"),
                ),
                ("network", models.CharField(blank=True, max_length=50, verbose_name="network")),
                ("attempts", models.PositiveSmallIntegerField(default=0, verbose_name="attempts")),
                ("prior_failures", models.PositiveIntegerField(default=0, verbose_name="failures of earlier codes")),
                ("created_at", models.DateTimeField(verbose_name="created at")),
                ("expires_at", models.DateTimeField(db_index=True, verbose_name="expires at")),
                ("used_at", models.DateTimeField(blank=True, null=True, verbose_name="used at")),
            ],
            options={
                "verbose_name": "magic link",
                "verbose_name_plural": "magic links",
                "abstract": False,
                "swappable": "MAGIC_LINK_MODEL",
            },
        ),
        migrations.CreateModel(
            name="MagicSignIn",
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
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=target("AUTH_USER_MODEL"),
                        verbose_name="user",
                    ),
                ),
                ("last_at", models.DateTimeField(verbose_name="last sign-in by mail")),
            ],
            options={
                "verbose_name": "sign-in by mail",
                "verbose_name_plural": "sign-ins by mail",
                "constraints": [models.UniqueConstraint(fields=["user"], name="dovetail_magiclink_one_sign_in")],
            },
        ),
    ]
