"""Run a job: take its row, send heartbeats, call its function, and record the outcome.

Each transition is one conditional UPDATE. It names the attempt that the worker has begun, so that late and repeated
messages change nothing, and a worker that was believed dead cannot write to the row of the next attempt.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import Any, Final
from uuid import UUID

from django.db import connections, transaction
from django.db.models import QuerySet
from django.utils import timezone

from dovetail_adminapi.conf import conf
from dovetail_adminapi.jobs import events, registry, results, states
from dovetail_adminapi.jobs.exceptions import Cancelled, LeaseLost, TimedOut
from dovetail_adminapi.jobs.running import RunningJob
from dovetail_adminapi.models import Job, JobState
from dovetail_adminapi.redaction import redact_text
from dovetail_core import context

logger = logging.getLogger("dovetail.adminapi")

#: How often a broker may deliver a lost job again. A job that kills each of its workers must not do so forever.
_MOST_DELIVERIES: Final = 3


def run(key: UUID, *, attempt: int, using: str, redelivered: bool = False) -> float | None:
    """Run a job that has had ``attempt`` attempts before, in this thread. Exceptions of its function are recorded.

    Nothing happens if the job has been started, cancelled or finished meanwhile. With ``redelivered``, the broker says
    that a worker had the message and did not finish: then a lost job gets another attempt. Return the seconds after
    which it may be lost, if its lease is not over, else None.
    """
    rows = Job.objects.using(using).filter(pk=key)
    started = _start(rows.filter(attempt=attempt, state__in=states.WAITING), attempt)
    if not started and redelivered:
        states.mark_lost(rows)
        job = rows.first()
        if job is not None and job.state == JobState.RUNNING and job.heartbeat_at is not None:
            return max(1.0, (job.heartbeat_at - states.cutoff()).total_seconds() + 1)
        if job is not None and job.attempt <= _MOST_DELIVERIES:
            attempt = job.attempt
            taken = rows.filter(attempt=attempt, state=JobState.LOST, rank=states.FINAL)
            started = _start(taken, attempt) or _start(rows.filter(attempt=attempt, state=JobState.RETRYING), attempt)
    if started:
        _run(rows.get(), using)
    return None


def abandon(key: UUID, *, attempt: int, error: BaseException, using: str) -> bool:
    """Record that the process of an attempt died. Return whether it had not recorded its own outcome."""
    job = Job.objects.using(using).filter(pk=key, attempt=attempt, state=JobState.RUNNING).first()
    return job is not None and _record_failure(job, error, using)


def end_terminated(key: UUID, *, using: str) -> bool:
    """Record that a job is cancelled whose process was ended because of its cancellation."""
    job = Job.objects.using(using).filter(pk=key, state=JobState.RUNNING, cancel_requested_at__isnull=False).first()
    return job is not None and _finish(job, using, JobState.CANCELLED)


def _start(rows: QuerySet[Job], attempt: int) -> bool:
    now = timezone.now()
    return bool(
        rows.update(
            state=JobState.RUNNING,
            rank=states.STARTED,
            attempt=attempt + 1,
            started_at=now,
            heartbeat_at=now,
            finished_at=None,
            publish_at=None,
            error_type="",
            error_text="",
        )
    )


def _run(job: Job, using: str) -> None:
    try:
        definition = registry.get(job.name)
        # Late: a worker imports serializers with its first job.
        from dovetail_adminapi.jobs import parameters

        arguments = parameters.arguments(definition, job.parameters)
        with ExitStack() as stack:
            # Unless the queue has passed the principal of the request.
            principal = context.principal() or job.requested_by or None
            stack.enter_context(context.bind(principal=principal, organization_id=job.organization_key))
            if conf.CONTEXT is not None:
                stack.enter_context(conf.CONTEXT(None))
            running = stack.enter_context(RunningJob(job, timeout=definition.timeout, using=using))
            result = definition.function(running, **arguments)
    except LeaseLost:
        logger.error("The job %s stopped: another attempt has taken it over, or its lease is over.", job.pk)
    except Cancelled:
        _finish(job, using, JobState.CANCELLED)
    except Exception as error:
        logger.exception("The job %s (%s) failed.", job.name, job.pk)
        _record_failure(job, error, using)
    else:
        _finish(job, using, JobState.SUCCEEDED, result=results.fit(result, job))


def _record_failure(job: Job, error: BaseException, using: str) -> bool:
    values = {"error_type": type(error).__name__[:200], "error_text": redact_text(str(error), 500)}
    if states.may_repeat(job) and not isinstance(error, TimedOut):
        next_at = states.next_attempt_at(job)
        return _transition(job, using, state=JobState.RETRYING, heartbeat_at=None, publish_at=next_at, **values)
    return _finish(job, using, JobState.FAILED, **values)


def _finish(job: Job, using: str, state: JobState, **values: Any) -> bool:
    now = timezone.now()
    name = events.JOB_CANCELLED if state == JobState.CANCELLED else events.JOB_FINISHED
    return _transition(
        job,
        using,
        event=name,
        state=state,
        rank=states.FINAL,
        finished_at=now,
        live_key=None,
        publish_at=None,
        **values,
    )


def _transition(job: Job, using: str, *, event: str | None = None, **values: Any) -> bool:
    """Change the row if this attempt still has it."""
    connection = connections[using]
    if not connection.in_atomic_block:
        # The job's own work may have lost the connection.
        connection.close_if_unusable_or_obsolete()
    with transaction.atomic(using=using):
        rows = Job.objects.using(using).filter(pk=job.pk, attempt=job.attempt, state=JobState.RUNNING)
        if not rows.update(**values):
            logger.warning("The outcome %s of the job %s came too late.", values["state"], job.pk)
            return False
        for field, value in values.items():
            setattr(job, field, value)
        if event is not None:
            events.emit_job(event, job, actor=job.requested_by or None, using=using)
    return True
