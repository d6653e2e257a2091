from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='IdempotencyRecord',
            fields=[
                ('digest', models.CharField(max_length=64, primary_key=True, serialize=False, verbose_name='digest')),
                ('organization', models.CharField(blank=True, max_length=64, verbose_name='organization')),
                ('principal', models.CharField(max_length=255, verbose_name='principal')),
                ('key', models.CharField(max_length=255, verbose_name='key')),
                ('fingerprint', models.CharField(max_length=64, verbose_name='fingerprint of the request')),
                ('state', models.CharField(default='in_progress', max_length=16, verbose_name='state')),
                ('attempt', models.PositiveIntegerField(default=1, verbose_name='attempt')),
                ('locked_until', models.DateTimeField(verbose_name='locked until')),
                ('status', models.PositiveSmallIntegerField(null=True, verbose_name='status')),
                ('headers', models.JSONField(default=dict, verbose_name='headers')),
                ('body', models.BinaryField(null=True, verbose_name='body')),
                ('created_at', models.DateTimeField(auto_now_add=True, verbose_name='created at')),
                ('expires_at', models.DateTimeField(db_index=True, verbose_name='expires at')),
            ],
            options={
                'verbose_name': 'idempotency record',
                'verbose_name_plural': 'idempotency records',
                'abstract': False,
                'swappable': 'CONTRACT_IDEMPOTENCY_MODEL',
            },
        ),
    ]
