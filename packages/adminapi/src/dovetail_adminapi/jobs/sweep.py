"""The sweep, which runs every minute: it finds lost jobs, and publishes those whose messages were lost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db import router
from django.utils import timezone

from dovetail_adminapi.jobs import runners, states
from dovetail_adminapi.models import Job


@dataclass(slots=True)
class Report:
    """The numbers of jobs that were found lost, and that were published again or for their next attempt."""

    lost: int = 0
    published: int = 0


def sweep(*, using: str | None = None, limit: int = 1000) -> Report:
    """Mark jobs without heartbeats as lost, and publish at most ``limit`` jobs that are due.

    Any number of processes may run it at once: conditional updates let one of them publish a job. It ends at the first
    job that cannot be published, because the next ones would wait for the same broker.
    """
    using = using or router.db_for_write(Job)
    report = Report(lost=states.mark_lost(Job.objects.using(using).all()))
    now = timezone.now()
    due = Job.objects.using(using).filter(publish_at__lte=now, state__in=states.WAITING)
    for job in due.order_by("publish_at", "pk")[:limit]:
        claim = due.filter(pk=job.pk, attempt=job.attempt, publish_at=job.publish_at)
        if not claim.update(publish_at=now + timedelta(seconds=states.REPUBLISH)):
            continue  # another sweep has published it, or it has started
        if not runners.publish(job, using=using):
            break
        report.published += 1
    return report
