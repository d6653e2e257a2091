"""The Celery application of this service.

Modules with tasks import it, and so does every process with a broker (apps.py). Otherwise Celery's default application,
which knows neither the broker nor the organization of a task, would publish their tasks. Other processes do not import
Celery, which takes time and memory at their start.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.schedules import crontab
from django.conf import settings

from dovetail_contract.contrib import celery as context

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")


def defaults() -> dict[str, Any]:
    """Return the schedule unless ``CELERY_BEAT_SCHEDULE`` replaces it. The settings are read without Celery."""
    # Celery looks at added defaults before the settings.
    if hasattr(settings, "CELERY_BEAT_SCHEDULE"):
        return {}
    schedule = {
        "mark-overdue-invoices": {"task": "billing.tasks.mark_overdue_invoices", "schedule": crontab(hour=1, minute=0)},
        # Sends notifications that were lost with an unavailable broker or a worker that died.
        "deliver-notifications": {"task": "dovetail_notify.deliver", "schedule": crontab()},
        # Up to a minute of entries has no proof yet. `manage.py audit_seal --loop` seals every ten seconds.
        "seal-audit-log": {"task": "dovetail_audit.seal", "schedule": crontab()},
        "verify-audit-log": {"task": "dovetail_audit.verify", "schedule": crontab(hour=4, minute=0)},
        "announce-expiring-keys": {
            "task": "dovetail_apikeys.announce_expiring_keys",
            "schedule": crontab(hour=6, minute=0),
        },
        # Finds jobs of the admin API whose worker died, and publishes those that the broker did not take.
        "sweep-admin-jobs": {"task": "dovetail_adminapi.sweep", "schedule": crontab()},
        # Hourly: the day of the figures ends at midnight UTC, which is another hour in CELERY_TIMEZONE.
        "roll-up-metrics": {"task": "dovetail_adminapi.roll_up_metrics", "schedule": crontab(minute=10)},
        "send-digests": {"task": "dovetail_notify.send_digests", "schedule": crontab(minute="*/10")},
    }
    for minute, command in enumerate(settings.PURGE_COMMANDS):
        schedule[command] = {
            "task": "example_project.tasks.purge",
            "args": [command],
            "schedule": crontab(hour=2, minute=minute),
        }
    return {"beat_schedule": schedule}


app = Celery(
    "example_project",
    include=[
        "example_project.tasks",
        "dovetail_adminapi.contrib.celery",
        "dovetail_apikeys.contrib.celery",
        "dovetail_audit.contrib.celery",
        "dovetail_identity.contrib.celery",
        "dovetail_magiclink.contrib.celery",
        "dovetail_notify.contrib.celery",
    ],
    # Runs each task for the organization that was active when it was enqueued.
    task_cls="dovetail_tenancy.contrib.celery:TenantTask",
)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.add_defaults(defaults)
app.autodiscover_tasks()
context.install()
