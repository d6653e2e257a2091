"""The domain events of jobs (see ``dovetail_core.events``).

===================  ===========================================================
name                 emitted if a job
===================  ===========================================================
admin_job.enqueued   is enqueued or retried
admin_job.finished   has succeeded, failed for good, or is lost
admin_job.cancelled  is cancelled, for a running job when it has stopped
===================  ===========================================================

The data are ``job``, its id; ``name``; ``state``; ``attempt``; ``parameters`` without secrets; ``reason``; ``error``,
the class of the exception; and ``retry_of``.
"""

from __future__ import annotations

from typing import Final

from dovetail_adminapi.models import Job
from dovetail_core import events

JOB_ENQUEUED: Final = "admin_job.enqueued"
JOB_FINISHED: Final = "admin_job.finished"
JOB_CANCELLED: Final = "admin_job.cancelled"


def emit_job(name: str, job: Job, *, actor: object, using: str) -> None:
    events.emit(
        name,
        actor=actor,
        organization_id=job.organization_key,
        target=job,
        data={
            "job": str(job.pk),
            "name": job.name,
            "state": job.state,
            "attempt": job.attempt,
            "parameters": job.shown_parameters,
            "reason": job.reason,
            "error": job.error_type,
            "retry_of": None if job.retry_of is None else str(job.retry_of),
        },
        using=using,
    )
