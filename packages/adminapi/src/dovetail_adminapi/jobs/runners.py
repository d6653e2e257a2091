"""Runners start jobs after their transaction has committed. ``ADMINAPI_RUNNER`` names one.

A runner is a function ``(job, using)`` of the row of a job and its database alias. It causes ``execution.run()`` with
the primary key and the attempt of the row, here or in another process. It may raise any exception, and may run a job
twice: the second call has no effect. Its attribute ``terminate`` is a function ``(key)`` that ends the process of a
job.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from django.utils import timezone

from dovetail_adminapi.conf import conf
from dovetail_adminapi.jobs import execution, states
from dovetail_adminapi.models import Job

logger = logging.getLogger("dovetail.adminapi")


def immediate(job: Job, using: str) -> None:
    """Run the job at once, in the process that has enqueued it. For tests, and for jobs of a few seconds."""
    execution.run(job.pk, attempt=job.attempt, using=using)


def publish(job: Job, *, using: str) -> bool:
    """Hand a job to the runner. If that fails, the sweep tries again. Never raise."""
    try:
        conf.RUNNER(job, using)
    except Exception as error:  # noqa: BLE001  # of any client library; the commit must not appear to fail
        # Without the error's text, which may contain a URL with a password.
        logger.warning("The job %s could not be published: %s.", job.pk, type(error).__name__)
        waiting = Job.objects.using(using).filter(pk=job.pk, attempt=job.attempt, state__in=states.WAITING)
        waiting.update(publish_at=timezone.now() + timedelta(seconds=5))
        return False
    return True


def terminate(job: Job) -> None:
    """End the process that runs a job, if the runner can. Never raise: the job also stops by itself."""
    try:
        end = getattr(conf.RUNNER, "terminate", None)
        if end is not None:
            end(str(job.pk))
    except Exception as error:  # noqa: BLE001  # as above
        logger.warning("The process of the job %s could not be ended: %s.", job.pk, type(error).__name__)
