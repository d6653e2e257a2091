from __future__ import annotations

import dovetail_core.models
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    operations = [
        migrations.CreateModel(
            name="Checkpoint",
            fields=[
                ("size", models.BigIntegerField(primary_key=True, serialize=False, verbose_name="size")),
                ("root", models.BinaryField(max_length=32, verbose_name="root")),
                ("at", models.DateTimeField(verbose_name="time")),
                ("frontier", models.BinaryField(max_length=2048, verbose_name="frontier")),
                ("signature", models.TextField(verbose_name="signed note")),
                ("anchored_at", models.DateTimeField(null=True, verbose_name="anchored at")),
                ("anchor", models.TextField(blank=True, verbose_name="anchors")),
            ],
            options={
                "verbose_name": "checkpoint",
                "verbose_name_plural": "checkpoints",
            },
        ),
        migrations.CreateModel(
            name="Leaf",
            fields=[
                ("position", models.BigIntegerField(primary_key=True, serialize=False, verbose_name="position")),
                ("entry", models.UUIDField(unique=True, verbose_name="entry")),
                ("hash", models.BinaryField(max_length=32, verbose_name="hash")),
            ],
            options={
                "verbose_name": "leaf",
                "verbose_name_plural": "leaves",
            },
        ),
        migrations.CreateModel(
            name="Seal",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False, verbose_name="id")),
                ("day_at", models.DateTimeField(null=True, verbose_name="looked a day back at")),
                ("anchored_size", models.BigIntegerField(null=True, verbose_name="anchored checkpoint")),
            ],
            options={
                "verbose_name": "seal",
                "verbose_name_plural": "seals",
            },
        ),
        migrations.CreateModel(
            name="Entry",
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
                ("at", models.DateTimeField(verbose_name="time")),
                ("organization", models.CharField(max_length=64, null=True, verbose_name="organization")),
                (
                    "actor_kind",
                    models.CharField(
                        choices=[
                            ("user", "user"),
                            ("api_key", "API key"),
                            ("system", "system"),
                            ("anonymous", "anonymous"),
                        ],
                        max_length=16,
                        verbose_name="kind of actor",
                    ),
                ),
                ("actor", models.CharField(blank=True, max_length=64, verbose_name="actor")),
                ("auth", models.CharField(blank=True, max_length=32, verbose_name="authentication")),
                ("impersonator", models.CharField(max_length=64, null=True, verbose_name="impersonator")),
                ("action", models.CharField(max_length=100, verbose_name="action")),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("intent", "intent"),
                            ("success", "success"),
                            ("denied", "denied"),
                            ("failed", "failed"),
                        ],
                        max_length=16,
                        verbose_name="outcome",
                    ),
                ),
                ("status", models.SmallIntegerField(null=True, verbose_name="HTTP status")),
                ("problem", models.CharField(blank=True, max_length=64, verbose_name="error code")),
                ("target_kind", models.CharField(blank=True, max_length=100, verbose_name="kind of target")),
                ("target", models.CharField(blank=True, max_length=64, verbose_name="target")),
                ("origin", models.CharField(blank=True, max_length=16, verbose_name="origin")),
                ("request_id", models.CharField(blank=True, max_length=64, verbose_name="request id")),
                ("data", models.JSONField(default=dict, verbose_name="data")),
                ("actor_label", models.CharField(max_length=256, null=True, verbose_name="name of actor")),
                ("target_label", models.CharField(max_length=256, null=True, verbose_name="name of target")),
                ("ip", models.CharField(max_length=50, null=True, verbose_name="client address")),
                ("user_agent", models.CharField(max_length=256, null=True, verbose_name="user agent")),
                ("private", models.JSONField(null=True, verbose_name="personal data")),
                ("salt", models.BinaryField(max_length=16, null=True, verbose_name="salt")),
                ("commitment", models.BinaryField(max_length=32, verbose_name="commitment")),
                ("erased_at", models.DateTimeField(null=True, verbose_name="erased at")),
                ("mac", models.BinaryField(max_length=32, verbose_name="authentication code")),
                ("version", models.SmallIntegerField(default=1, verbose_name="version")),
            ],
            options={
                "verbose_name": "audit entry",
                "verbose_name_plural": "audit entries",
                "default_permissions": ("view",),
                "permissions": [
                    ("export_entry", "Can export audit entries"),
                    ("verify_entry", "Can verify the audit log"),
                    ("erase_entry", "Can erase personal data from audit entries"),
                ],
                "indexes": [
                    models.Index(fields=["organization", "-id"], name="dovetail_audit_organization"),
                    models.Index(fields=["actor", "-id"], name="dovetail_audit_actor"),
                    models.Index(fields=["target_kind", "target", "-id"], name="dovetail_audit_target"),
                    models.Index(fields=["action", "-id"], name="dovetail_audit_action"),
                    models.Index(fields=["request_id"], name="dovetail_audit_request"),
                    models.Index(fields=["outcome", "-id"], name="dovetail_audit_outcome"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Tile",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False, verbose_name="id")),
                ("level", models.SmallIntegerField(verbose_name="level")),
                ("index", models.BigIntegerField(verbose_name="index")),
                ("hash", models.BinaryField(max_length=32, verbose_name="hash")),
            ],
            options={
                "verbose_name": "tile",
                "verbose_name_plural": "tiles",
                "constraints": [models.UniqueConstraint(fields=("level", "index"), name="dovetail_audit_one_tile")],
            },
        ),
    ]
