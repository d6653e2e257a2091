"""Celery tasks. ``autodiscover_tasks(related_name="contrib.celery")`` registers them. Schedule ``sweep`` every minute.

The table of jobs is the source of truth: a message only says that a job may start, and a result backend is not used.
What this relies on, as run with Celery 5.7: the worker's parent process sends ``task_failure`` if a process of its pool
is killed, and ``task_revoked`` if one is terminated; if the whole worker is killed, nobody sends anything, and the
lease of the job ends.

By default, Celery acknowledges a message before its task runs, so a job that was started is not started again. With
``CELERY_TASK_ACKS_LATE``, the broker delivers it again, and it gets another attempt when its lease is over.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from celery import Task, current_app, shared_task
from celery.signals import task_failure, task_revoked
from django.db import connections, router

from dovetail_adminapi.jobs import execution, registry
from dovetail_adminapi.jobs import sweep as sweeping
from dovetail_adminapi.jobs.exceptions import UnknownJob
from dovetail_adminapi.metrics import rollup as rollups
from dovetail_adminapi.models import Job
from dovetail_core.queues import publish, publish_task

#: Seconds that a job has after its timeout: to react to it, until an exception interrupts it, and until its process
#: is killed.
_SOFT, _HARD = 5, 60


@shared_task(bind=True, name="dovetail_adminapi.run_job", ignore_result=True, max_retries=None)
def run_job(self: Task[Any, Any], key: str, attempt: int, using: str, redelivered: bool = False) -> None:
    """Run a job. Further messages for the same attempt have no effect."""
    delivery = self.request.delivery_info or {}
    redelivered = redelivered or bool(delivery.get("redelivered"))
    wait = execution.run(UUID(key), attempt=attempt, using=using, redelivered=redelivered)
    if wait is not None:
        # Another worker had the message and may still live. Its lease tells.
        raise self.retry(args=(key, attempt, using, True), kwargs={}, countdown=wait)


@shared_task(name="dovetail_adminapi.sweep", ignore_result=True)
def sweep() -> None:
    """Find lost jobs, and publish those that are due. Schedule it every minute."""
    sweeping.sweep()


@shared_task(name="dovetail_adminapi.roll_up_metrics", ignore_result=True)
def roll_up_metrics() -> None:
    """Compute yesterday's metrics. Schedule it once a day, after midnight UTC."""
    rollups.roll_up()


def run(job: Job, using: str) -> None:
    """An ``ADMINAPI_RUNNER`` that runs jobs in Celery workers.

    Raise ``dovetail_core.queues.Unavailable`` if the broker takes no message within two seconds; the sweep then
    publishes the job later.
    """
    options: dict[str, Any] = {"task_id": str(job.pk)}
    try:
        timeout = registry.get(job.name).timeout
    except UnknownJob:
        pass  # the worker may know the job, and records that it does not
    else:
        # For a job that does not look at its timeout. Only the prefork pool enforces them.
        options |= {"soft_time_limit": timeout + _SOFT, "time_limit": timeout + _HARD}
    publish_task(run_job, str(job.pk), job.attempt, using, options=options)


def terminate(key: str) -> None:
    """End the process of a job with SIGTERM, whatever it does."""
    publish(lambda: current_app.control.revoke(key, terminate=True, signal="SIGTERM"))


run.terminate = terminate  # type: ignore[attr-defined]  # runners.terminate() looks for it


@task_failure.connect(dispatch_uid="dovetail_adminapi")
def on_failure(sender: Any = None, args: Any = (), exception: BaseException | None = None, **kwargs: Any) -> None:
    """Record that the process of a job was killed. Exceptions of the job itself are recorded where they are raised."""
    if getattr(sender, "name", None) != run_job.name or exception is None or len(args or ()) < 3:
        return
    key, attempt, using = args[:3]
    try:
        execution.abandon(UUID(key), attempt=attempt + 1, error=exception, using=using)
    finally:
        _close()


@task_revoked.connect(dispatch_uid="dovetail_adminapi")
def on_revoked(sender: Any = None, request: Any = None, terminated: bool = False, **kwargs: Any) -> None:
    """Record that a job was cancelled whose process was terminated."""
    if getattr(sender, "name", None) != run_job.name or not terminated:
        return
    try:
        execution.end_terminated(UUID(request.id), using=router.db_for_write(Job))
    finally:
        _close()


def _close() -> None:
    # The parent process forks the next process of its pool, which must not inherit a connection.
    if not any(connection.in_atomic_block for connection in connections.all(initialized_only=True)):
        connections.close_all()
