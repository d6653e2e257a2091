import dovetail_tenancy.models
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0002_row_security'),
        migrations.swappable_dependency(settings.TENANCY_ORGANIZATION_MODEL),
    ]

    operations = [
        migrations.AddConstraint(
            model_name='customer',
            constraint=models.UniqueConstraint(fields=('id', 'organization'), name='billing_customer_of_organization'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.UniqueConstraint(fields=('id', 'organization'), name='billing_invoice_of_organization'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=dovetail_tenancy.models.SameOrganization('customer', name='billing_invoice_customer_of_same_organization'),
        ),
        migrations.AddConstraint(
            model_name='invoiceline',
            constraint=dovetail_tenancy.models.SameOrganization('invoice', name='billing_invoiceline_invoice_of_same_organization'),
        ),
    ]
