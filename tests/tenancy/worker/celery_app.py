"""The Celery application of a project. As a worker it uses the settings of this lane."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

from dovetail_tenancy import tenant
from tests.tenancy.worker.seen import what_is_seen

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.tenancy.settings")

app = Celery(
    "worker",
    broker=os.environ.get("WORKER_BROKER", "memory://"),
    backend=os.environ.get("WORKER_RESULTS", "cache+memory://"),
    task_cls="dovetail_tenancy.contrib.celery:TenantTask",
    set_as_current=True,
)
app.conf.update(
    task_default_queue=os.environ.get("WORKER_QUEUE", "celery"),
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    result_expires=60,
)


@app.task
def see() -> str:
    return what_is_seen()


@app.task
def nested(key: str) -> str:
    with tenant(key):
        return what_is_seen()


@app.task
def failing() -> None:
    raise ZeroDivisionError


@app.task(bind=True, max_retries=2)
def see_retrying(self: Any, elsewhere: str) -> str:
    if self.request.retries < 1:
        # Retried inside another organization. The retry keeps the organization of the task.
        with tenant(elsewhere):
            raise self.retry(countdown=0)
    return what_is_seen()


@app.task
def gather(seen: list[str]) -> list[str]:
    return [*seen, what_is_seen()]
