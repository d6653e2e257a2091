from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    # The app was named "clients" when the databases applied this migration.
    replaces = [('clients', '0001_initial')]

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Firm',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=200)),
            ],
            options={
                'db_table': 'clients_firm',
            },
        ),
    ]
