from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("dovetail_tenancy", "0003_invitation")]

    operations = [
        migrations.AddIndex(
            model_name="membership",
            index=models.Index(fields=["organization", "-id"], name="dovetail_te_organiz_e4765b_idx"),
        ),
        migrations.AddIndex(
            model_name="invitation",
            index=models.Index(fields=["organization", "-id"], name="tenancy_invitation_newest"),
        ),
    ]
