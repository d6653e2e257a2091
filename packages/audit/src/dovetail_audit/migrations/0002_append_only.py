from __future__ import annotations

from django.db import migrations

from dovetail_audit.protection.operations import AppendOnly


class Migration(migrations.Migration):
    dependencies = [("dovetail_audit", "0001_initial")]

    operations = [AppendOnly("Entry"), AppendOnly("Leaf")]
