"""The Celery application of a project with jobs."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.adminapi.settings_on_file")
os.environ.setdefault("CELERY_SKIP_CHECKS", "true")

app = Celery("worker", broker=os.environ.get("WORKER_BROKER", "memory://"), set_as_current=True)
app.conf.update(
    include=["dovetail_adminapi.contrib.celery"],
    task_default_queue=os.environ.get("WORKER_QUEUE", "celery"),
    task_acks_late="WORKER_ACKS_LATE" in os.environ,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    # Redis delivers a message again that no worker has acknowledged for so long.
    broker_transport_options={"visibility_timeout": 8} if "WORKER_ACKS_LATE" in os.environ else {},
)
