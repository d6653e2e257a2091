"""The Celery application. Run ``celery -A example_project worker -l info`` in the folder of manage.py."""

from __future__ import annotations

import os

from celery import Celery

from dovetail_contract.contrib import celery as context

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

app = Celery(
    "example_project",
    include=[
        "example_project.tasks",
        "dovetail_apikeys.contrib.celery",
        "dovetail_identity.contrib.celery",
        "dovetail_magiclink.contrib.celery",
        "dovetail_notify.contrib.celery",
    ],
    # Runs each task for the organization that was active when it was enqueued.
    task_cls="dovetail_tenancy.contrib.celery:TenantTask",
)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
context.install()
