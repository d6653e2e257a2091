"""Tasks of Django (6.0 and later). They only run jobs: the table of jobs has their states."""

from __future__ import annotations

from uuid import UUID

from django.tasks import task  # type: ignore[import-not-found, unused-ignore]  # not in every Django

from dovetail_adminapi.jobs import execution
from dovetail_adminapi.jobs import sweep as sweeping
from dovetail_adminapi.metrics import rollup as rollups
from dovetail_adminapi.models import Job


@task  # type: ignore[untyped-decorator, unused-ignore]  # as above
def run_job(key: str, attempt: int, using: str) -> None:
    """Run a job. Further tasks for the same attempt have no effect."""
    execution.run(UUID(key), attempt=attempt, using=using)


@task  # type: ignore[untyped-decorator, unused-ignore]  # as above
def sweep() -> None:
    """Find lost jobs, and publish those that are due. Run it every minute."""
    sweeping.sweep()


@task  # type: ignore[untyped-decorator, unused-ignore]  # as above
def roll_up_metrics() -> None:
    """Compute yesterday's metrics. Run it once a day, after midnight UTC."""
    rollups.roll_up()


def run(job: Job, using: str) -> None:
    """An ``ADMINAPI_RUNNER`` that enqueues a task on the default backend of ``TASKS``."""
    run_job.enqueue(str(job.pk), job.attempt, using)
