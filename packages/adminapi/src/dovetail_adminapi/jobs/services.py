"""Enqueue, cancel and retry jobs. Views, commands and other code of the project call these functions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django.db import IntegrityError, connections, router, transaction
from django.db.models.functions import Coalesce
from django.utils import timezone

from dovetail_adminapi.jobs import events, parameters, registry, runners, states
from dovetail_adminapi.jobs.exceptions import AlreadyRetried, JobFinished, JobRunning, NotRetryable, ReasonRequired
from dovetail_adminapi.models import Job, JobState
from dovetail_adminapi.redaction import redact_text
from dovetail_core.transactions import retry_on_conflict

#: Characters of a reason.
MAX_REASON: Final = 1000


def enqueue(
    name: str,
    values: Mapping[str, Any] | None = None,
    *,
    actor: object,
    reason: str | None = None,
    unique_key: str | None = None,
    organization_key: object = None,
) -> Job:
    """Store a job, and hand it to ``ADMINAPI_RUNNER`` when the transaction commits. Return its row.

    ``values`` are the parameters as in a request. ``unique_key`` replaces what ``unique`` of the job returns. If the
    broker is unavailable, the job stays queued, and the sweep publishes it later.

    Raise ``UnknownJob``, ``InvalidParameters``, ``ReasonRequired``, and ``JobRunning`` if the same job is live.
    """
    definition = registry.get(name)
    arguments, stored, shown = parameters.validate(definition, values or {})
    reason = redact_text((reason or "").strip(), MAX_REASON)
    if definition.require_reason and not reason:
        raise ReasonRequired(name)
    if unique_key is None and definition.unique is not None:
        unique_key = str(definition.unique(arguments))
    row = {
        "name": name,
        "parameters": stored,
        "shown_parameters": shown,
        "unique_key": "" if unique_key is None else _digest(unique_key),
        "organization_key": None if organization_key is None else str(organization_key),
    }
    return _create(row, actor, reason)


def cancel_job(*, job: Job | UUID, actor: object) -> Job:
    """Cancel a queued job at once, and ask a running one to stop. Return the row. Calling it again has no effect.

    A running job stops when it next calls ``job.check_cancelled()``. The process of a ``killable`` job is ended.
    Raise ``JobFinished``, and ``Job.DoesNotExist``.
    """
    return _cancel(job.pk if isinstance(job, Job) else job, actor)


def retry_job(*, job: Job | UUID, actor: object, reason: str | None = None) -> Job:
    """Enqueue a job again that has failed, was cancelled or is lost, with the same parameters. Return the new row.

    A lost job that was retried never continues, also if the broker delivers it again. Raise ``NotRetryable``,
    ``AlreadyRetried``, ``ReasonRequired``, ``UnknownJob``, ``InvalidParameters`` if the parameters are no longer valid,
    ``JobRunning``, and ``Job.DoesNotExist``.
    """
    key = job.pk if isinstance(job, Job) else job
    using = router.db_for_write(Job)
    states.mark_lost(Job.objects.using(using).filter(pk=key))
    old = Job.objects.using(using).get(pk=key)
    definition = registry.get(old.name)
    parameters.arguments(definition, old.parameters)
    reason = redact_text((reason or "").strip(), MAX_REASON)
    if definition.require_reason and not reason:
        raise ReasonRequired(old.name)
    row = {name: getattr(old, name) for name in ("name", "parameters", "shown_parameters", "organization_key")}
    return _create(row | {"unique_key": old.unique_key, "retry_of": old.pk}, actor, reason)


@retry_on_conflict
def _create(row: Mapping[str, Any], actor: object, reason: str) -> Job:
    using = router.db_for_write(Job)
    with transaction.atomic(using=using):
        if row.get("retry_of"):
            _replace(row["retry_of"], using)
        if row["unique_key"]:
            _replace_lost(row["name"], row["unique_key"], using)
        now = timezone.now()
        job = Job(
            **row,
            live_key=row["unique_key"] or None,
            requested_by="" if actor is None else str(getattr(actor, "pk", actor))[:200],
            reason=reason,
            queued_at=now,
            # If this process dies after the commit, the sweep publishes the job.
            publish_at=now + timedelta(seconds=states.REPUBLISH),
        )
        _insert(job, using)
        events.emit_job(events.JOB_ENQUEUED, job, actor=actor, using=using)

        def publish() -> None:
            runners.publish(job, using=using)

        transaction.on_commit(publish, using=using, robust=True)
    return job


def _insert(job: Job, using: str) -> None:
    if job.live_key is None:
        job.save(using=using, force_insert=True)
        return
    try:
        with transaction.atomic(using=using):
            job.save(using=using, force_insert=True)
    except IntegrityError:
        key = _live(job, using)
        if key is not None:
            raise JobRunning(key) from None
        # It has finished meanwhile.
        job.save(using=using, force_insert=True)


def _live(job: Job, using: str) -> UUID | None:
    """Return the key of the live job with the name and unique key of another one."""
    rows = Job.objects.using(using).filter(name=job.name, live_key=job.live_key).values_list("pk", flat=True)
    if connections[using].vendor != "mysql":
        return rows.first()
    # A locking read, because a snapshot is older than the row that was in the way. A shared lock, because the INSERT
    # that failed has left one, and two holders of it that want an exclusive one deadlock.
    sql, params = rows.query.get_compiler(using).as_sql()
    with connections[using].cursor() as cursor:
        cursor.execute(f"{sql} LOCK IN SHARE MODE", params)
        row = cursor.fetchone()
    return None if row is None else UUID(str(row[0]))


def _replace(key: UUID, using: str) -> None:
    """Record that a job is retried, so that only one of two retries creates a job."""
    retryable = (JobState.FAILED, JobState.CANCELLED, JobState.LOST)
    rows = Job.objects.using(using).filter(pk=key)
    if rows.filter(state__in=retryable, rank=states.FINAL).update(rank=states.RETRIED, live_key=None):
        return
    job = rows.get()
    raise AlreadyRetried(key) if job.rank == states.RETRIED else NotRetryable(key, states.shown_state(job))


def _replace_lost(name: str, unique_key: str, using: str) -> None:
    """Take the unique key from a lost job, which then never continues."""
    rows = Job.objects.using(using).filter(name=name, live_key=unique_key)
    # A read first: an UPDATE of no row may lock the gap of the index into which another transaction inserts.
    lost = list(rows.filter(states.in_state(JobState.LOST)).values_list("pk", flat=True))
    if lost:
        rows = rows.filter(pk__in=lost)
        states.mark_lost(rows)
        rows.filter(state=JobState.LOST).update(rank=states.RETRIED, live_key=None)


@retry_on_conflict
def _cancel(key: UUID, actor: object) -> Job:
    using = router.db_for_write(Job)
    now = timezone.now()
    with transaction.atomic(using=using):
        rows = Job.objects.using(using).filter(pk=key)
        ended = rows.filter(state__in=states.WAITING).update(
            state=JobState.CANCELLED,
            rank=states.FINAL,
            finished_at=now,
            cancel_requested_at=now,
            publish_at=None,
            live_key=None,
        )
        asked = not ended and rows.filter(states.in_state(JobState.RUNNING, now)).update(
            cancel_requested_at=Coalesce("cancel_requested_at", now)
        )
        if connections[using].features.has_select_for_update:
            # A locking read: MariaDB's snapshot may be older than the row.
            rows = rows.select_for_update()
        job = rows.get()
        if ended:
            events.emit_job(events.JOB_CANCELLED, job, actor=actor, using=using)
        elif asked:
            _terminate_on_commit(job, using)
    if not ended and not asked and job.state != JobState.CANCELLED:
        states.mark_lost(Job.objects.using(using).filter(pk=key))
        raise JobFinished(key, states.shown_state(job))
    return job


def _terminate_on_commit(job: Job, using: str) -> None:
    if not registry.get(job.name).killable:
        return

    def terminate() -> None:
        runners.terminate(job)

    transaction.on_commit(terminate, using=using, robust=True)


def _digest(unique_key: str) -> str:
    # Of any length, and MariaDB's collations would take keys that differ in case for equal.
    return hashlib.sha256(unique_key.encode("utf-8", "surrogatepass")).hexdigest()
