from __future__ import annotations

from django.db import migrations, models

import dovetail_core.models


class Migration(migrations.Migration):
    dependencies = [("dovetail_identity", "0002_session")]

    operations = [
        migrations.CreateModel(
            name="Registration",
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
                ("email", models.EmailField(db_index=True, max_length=254, verbose_name="email address")),
                ("password", models.CharField(max_length=128, verbose_name="password")),
                ("first_name", models.CharField(blank=True, max_length=150, verbose_name="first name")),
                ("last_name", models.CharField(blank=True, max_length=150, verbose_name="last name")),
                ("created_at", models.DateTimeField(verbose_name="created at")),
                ("expires_at", models.DateTimeField(db_index=True, verbose_name="expires at")),
            ],
            options={"verbose_name": "registration", "verbose_name_plural": "registrations"},
        ),
    ]
