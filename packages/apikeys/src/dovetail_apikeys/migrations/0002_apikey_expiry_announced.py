from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("dovetail_apikeys", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="expiry_announced",
            field=models.DateTimeField(blank=True, editable=False, null=True, verbose_name="told of the expiry at"),
        ),
    ]
