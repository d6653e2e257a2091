"""Background work with Celery. ``autodiscover_tasks(related_name="contrib.celery")`` finds these tasks.

Tasks have no countdown and no retry: the outbox stores when each delivery is due. So a task that the broker loses or
delivers twice changes nothing but the time.
"""

from __future__ import annotations

from celery import shared_task

from dovetail_notify.inbox import retention
from dovetail_notify.outbox import digests, worker


@shared_task(name="dovetail_notify.deliver", ignore_result=True)
def deliver(using: str | None = None) -> None:
    """Send all due deliveries. Schedule it every minute, for deliveries committed while the broker was down."""
    worker.deliver(using=using)


@shared_task(name="dovetail_notify.send_digests", ignore_result=True)
def send_digests() -> None:
    """Send the digests that are due. Schedule it about every ten minutes."""
    digests.send_digests()


@shared_task(name="dovetail_notify.purge_notifications", ignore_result=True)
def purge_notifications() -> None:
    """Delete old notifications. Schedule it once a day."""
    retention.purge_notifications()


#: A second attempt at once, for a connection that a restart of the broker broke. ``retry=False`` has no effect on
#: connecting, for which kombu then tries for six seconds (measured with 5.7).
_AT_MOST_TWICE = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}


def run(using: str) -> None:
    """A ``NOTIFY_RUNNER`` that lets a Celery worker send.

    A broker that refuses connections costs milliseconds; one that does not respond costs
    ``broker_connection_timeout``, at most once in ten seconds. The scheduled task then sends.
    """
    deliver.apply_async(args=(using,), retry=True, retry_policy=_AT_MOST_TWICE)
