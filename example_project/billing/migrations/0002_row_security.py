from django.db import migrations

from dovetail_tenancy.operations import EnableRowSecurity


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0001_initial'),
    ]

    operations = [
        EnableRowSecurity('Customer'),
        EnableRowSecurity('Invoice'),
        EnableRowSecurity('InvoiceLine'),
    ]
