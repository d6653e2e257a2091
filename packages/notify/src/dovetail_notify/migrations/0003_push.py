from __future__ import annotations

import django.utils.timezone
from django.db import migrations, models
from django.db.models import F


def copy_created_at(apps, schema_editor):
    device = apps.get_model("dovetail_notify", "Device")
    device.objects.using(schema_editor.connection.alias).update(registered_at=F("created_at"))


class Migration(migrations.Migration):
    dependencies = [("dovetail_notify", "0002_outbox")]

    operations = [
        migrations.AddField(
            model_name="delivery",
            name="devices_done",
            field=models.CharField(
                blank=True,
                default="",
                help_text="Keys of devices that need no further attempt, while others are tried again.",
                max_length=400,
                verbose_name="finished devices",
            ),
        ),
        migrations.AddField(
            model_name="device",
            name="registered_at",
            field=models.DateTimeField(
                default=django.utils.timezone.now,
                help_text="When the device was last registered.",
                verbose_name="registered at",
            ),
        ),
        migrations.AddField(
            model_name="device",
            name="retired_reason",
            field=models.CharField(blank=True, default="", max_length=100, verbose_name="reason"),
        ),
        migrations.RunPython(copy_created_at, migrations.RunPython.noop),
    ]
