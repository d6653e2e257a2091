"""The state of a job as it is now, whatever its row says: a dead worker cannot write that it is dead."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from dovetail_adminapi.conf import conf
from dovetail_adminapi.jobs import events, registry
from dovetail_adminapi.jobs.exceptions import UnknownJob
from dovetail_adminapi.models import Job, JobState

#: Ranks. A transition never lowers the rank, except that a broker may deliver a lost job again.
QUEUED, STARTED, FINAL, RETRIED = range(4)
#: Seconds after which the sweep publishes a queued job again, because its message may be lost.
REPUBLISH: Final = 900
#: Seconds before the second attempt; each further one waits twice as long, at most an hour.
_BACKOFF: Final = 30

WAITING: Final = (JobState.QUEUED, JobState.RETRYING)


def cutoff(now: datetime | None = None) -> datetime:
    """Return the time after which a running job must have sent a heartbeat."""
    return (now or timezone.now()) - timedelta(seconds=conf.JOB_LEASE_SECONDS)


def silent(now: datetime | None = None) -> Q:
    """Return the condition of jobs that are running by their rows, and lost."""
    return Q(state=JobState.RUNNING, heartbeat_at__lt=cutoff(now))


def in_state(state: str, now: datetime | None = None) -> Q:
    """Return the condition of jobs that are shown with a state."""
    if state == JobState.RUNNING:
        return Q(state=state, heartbeat_at__gte=cutoff(now))
    return Q(state=state) | silent(now) if state == JobState.LOST else Q(state=state)


def shown_state(job: Job, now: datetime | None = None) -> str:
    """Return the state that people are shown: ``lost`` for a running job whose lease is over."""
    is_silent = job.state == JobState.RUNNING and job.heartbeat_at is not None and job.heartbeat_at < cutoff(now)
    return JobState.LOST.value if is_silent else str(job.state)


def mark_lost(rows: QuerySet[Job]) -> int:
    """Record that running jobs without heartbeats are lost, or wait for their next attempt. Return their number."""
    return sum(_mark_lost(job, rows.db) for job in rows.filter(silent()).order_by("pk")[:1000])


def _mark_lost(job: Job, using: str) -> bool:
    # The condition applies again: the worker may have sent a heartbeat, and another sweep may be faster.
    rows = Job.objects.using(using).filter(silent(), pk=job.pk, attempt=job.attempt)
    now = timezone.now()
    with transaction.atomic(using=using):
        if may_repeat(job):
            return bool(rows.update(state=JobState.RETRYING, publish_at=now, heartbeat_at=None))
        if not rows.update(state=JobState.LOST, rank=FINAL, finished_at=now):
            return False
        job.state, job.finished_at = JobState.LOST, now
        events.emit_job(events.JOB_FINISHED, job, actor=job.requested_by or None, using=using)
    return True


def may_repeat(job: Job) -> bool:
    """Return whether the definition of a job allows another attempt after the present one."""
    try:
        return job.attempt <= registry.get(job.name).retries and job.cancel_requested_at is None
    except UnknownJob:
        return False


def next_attempt_at(job: Job) -> datetime:
    """Return when the next attempt of a job begins."""
    return timezone.now() + timedelta(seconds=min(_BACKOFF * 2 ** (job.attempt - 1), 3600))
