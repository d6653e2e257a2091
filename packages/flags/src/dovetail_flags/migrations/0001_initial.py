from __future__ import annotations

import django.core.serializers.json
import django.utils.timezone
import dovetail_core.models
import dovetail_flags.base
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Flag",
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
                ("key", models.CharField(max_length=100, unique=True, verbose_name="key")),
                ("name", models.CharField(blank=True, default="", max_length=200, verbose_name="name")),
                ("description", models.TextField(blank=True, default="", verbose_name="description")),
                (
                    "type",
                    models.CharField(
                        choices=[
                            ("boolean", "boolean"),
                            ("string", "string"),
                            ("integer", "integer"),
                            ("number", "number"),
                            ("object", "object"),
                        ],
                        default="boolean",
                        max_length=10,
                        verbose_name="type",
                    ),
                ),
                (
                    "variants",
                    models.JSONField(encoder=django.core.serializers.json.DjangoJSONEncoder, verbose_name="variants"),
                ),
                ("enabled", models.BooleanField(default=False, verbose_name="enabled")),
                ("off_variant", models.CharField(max_length=100, verbose_name="variant if disabled")),
                ("default_variant", models.CharField(max_length=100, verbose_name="variant without a matching rule")),
                (
                    "rules",
                    models.JSONField(
                        blank=True,
                        default=list,
                        encoder=django.core.serializers.json.DjangoJSONEncoder,
                        verbose_name="rules",
                    ),
                ),
                (
                    "salt",
                    models.CharField(
                        default=dovetail_flags.base.new_salt, editable=False, max_length=32, verbose_name="salt"
                    ),
                ),
                (
                    "client_visible",
                    models.BooleanField(
                        default=False,
                        help_text="Whether browsers and apps can read the value.",
                        verbose_name="visible to clients",
                    ),
                ),
                ("owner", models.CharField(blank=True, default="", max_length=200, verbose_name="owner")),
                ("tags", models.JSONField(blank=True, default=list, verbose_name="tags")),
                (
                    "temporary",
                    models.BooleanField(
                        default=False,
                        help_text="Whether the flag is to be removed, as after a rollout.",
                        verbose_name="temporary",
                    ),
                ),
                ("expires_at", models.DateTimeField(blank=True, null=True, verbose_name="expires at")),
                (
                    "archived_at",
                    models.DateTimeField(blank=True, editable=False, null=True, verbose_name="archived at"),
                ),
                ("version", models.PositiveIntegerField(default=1, editable=False, verbose_name="version")),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name="created at"),
                ),
                (
                    "updated_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name="updated at"),
                ),
            ],
            options={
                "verbose_name": "feature flag",
                "verbose_name_plural": "feature flags",
                "permissions": [("toggle_flag", "Can enable and disable feature flags")],
                "abstract": False,
                "swappable": "FLAGS_FLAG_MODEL",
            },
        ),
        migrations.CreateModel(
            name="FlagSet",
            fields=[
                (
                    "id",
                    models.PositiveSmallIntegerField(
                        default=1, editable=False, primary_key=True, serialize=False, verbose_name="id"
                    ),
                ),
                ("token", models.UUIDField(default=dovetail_core.models.uuid7, editable=False, verbose_name="token")),
            ],
            options={
                "verbose_name": "set of feature flags",
                "verbose_name_plural": "sets of feature flags",
            },
        ),
        migrations.CreateModel(
            name="FlagRevision",
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
                ("flag_key", models.CharField(max_length=100, verbose_name="key")),
                ("version", models.PositiveIntegerField(verbose_name="version")),
                ("event", models.CharField(max_length=40, verbose_name="event")),
                (
                    "snapshot",
                    models.JSONField(encoder=django.core.serializers.json.DjangoJSONEncoder, verbose_name="flag"),
                ),
                ("changes", models.JSONField(default=list, verbose_name="changes")),
                ("actor_key", models.CharField(blank=True, default="", max_length=200, verbose_name="actor")),
                ("reason", models.TextField(blank=True, default="", verbose_name="reason")),
                ("at", models.DateTimeField(default=django.utils.timezone.now, verbose_name="at")),
            ],
            options={
                "verbose_name": "revision of a feature flag",
                "verbose_name_plural": "revisions of feature flags",
                "constraints": [
                    models.UniqueConstraint(fields=("flag_key", "version"), name="dovetail_flags_one_revision")
                ],
            },
        ),
    ]
