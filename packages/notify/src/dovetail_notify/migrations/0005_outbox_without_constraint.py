from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

from dovetail_core.models import TargetingMigration, dependency, target


class Migration(TargetingMigration):
    dependencies = [("dovetail_notify", "0004_dedupe"), dependency("NOTIFY_NOTIFICATION_MODEL")]

    operations = [
        migrations.AlterField(
            model_name="delivery",
            name="notification",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to=target("NOTIFY_NOTIFICATION_MODEL"),
                verbose_name="notification",
            ),
        ),
    ]
