from __future__ import annotations

from django.db import migrations

from dovetail_notify.base import DedupeConstraint


class Migration(migrations.Migration):
    dependencies = [("dovetail_notify", "0003_push")]

    operations = [
        migrations.RemoveConstraint(model_name="notification", name="dovetail_notify_notification_dedupe"),
        migrations.AddConstraint(
            model_name="notification", constraint=DedupeConstraint(name="dovetail_notify_notification_dedupe")
        ),
    ]
