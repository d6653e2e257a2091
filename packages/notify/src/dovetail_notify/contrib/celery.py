"""Celery tasks. Register them with ``app.autodiscover_tasks(related_name="contrib.celery")``.

Tasks have no countdown and no retries, because the outbox stores when each delivery is due. A task that the broker
loses only delays deliveries, and a duplicate task sends nothing twice.
"""

from __future__ import annotations

from celery import shared_task

from dovetail_core.queues import publish_task
from dovetail_notify.inbox import maintenance
from dovetail_notify.outbox import digests, worker


@shared_task(name="dovetail_notify.deliver", ignore_result=True)
def deliver(using: str | None = None) -> None:
    """Send all due deliveries. Schedule it every minute, for retries and for commits while the broker was down."""
    worker.deliver(using=using)


@shared_task(name="dovetail_notify.send_digests", ignore_result=True)
def send_digests() -> None:
    """Send the digests that are due. Schedule it every ten minutes."""
    digests.send_digests()


@shared_task(name="dovetail_notify.purge_notifications", ignore_result=True)
def purge_notifications() -> None:
    """Delete old notifications. Schedule it once a day."""
    maintenance.purge_notifications()


def run(using: str) -> None:
    """A ``NOTIFY_RUNNER`` that sends in a Celery worker.

    A broker that refuses connections delays a request by milliseconds. One that does not respond delays a request by
    two seconds, at most once in ten seconds. Raises ``dovetail_core.queues.Unavailable`` then, and the scheduled task
    sends the deliveries.
    """
    publish_task(deliver, using)
