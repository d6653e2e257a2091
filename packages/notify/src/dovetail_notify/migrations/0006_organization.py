from __future__ import annotations

from django.db import migrations, models

from dovetail_notify.base import UnreadIndex


class Migration(migrations.Migration):
    dependencies = [("dovetail_notify", "0005_outbox_without_constraint")]

    operations = [
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(fields=["recipient", "organization_key", "-id"], name="notify_organization"),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=UnreadIndex(name="notify_organization_unread", by_organization=True),
        ),
    ]
