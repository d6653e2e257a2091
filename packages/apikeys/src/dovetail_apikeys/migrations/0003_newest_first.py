from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("dovetail_apikeys", "0002_apikey_expiry_announced")]

    operations = [
        migrations.AddIndex(
            model_name="apikey",
            index=models.Index(fields=["organization", "-id"], name="dovetail_ap_organiz_4d5dec_idx"),
        ),
    ]
