from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    operations = [migrations.CreateModel("Parcel", [("id", models.AutoField(primary_key=True))])]
