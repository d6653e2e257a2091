"""Background work with Celery. ``autodiscover_tasks(related_name="contrib.celery")`` finds it.

Nothing here waits in the queue: no countdown, no retry. What is due when stands in the outbox, so a task that the
broker loses or gives out twice changes nothing but the time.
"""

from __future__ import annotations

from celery import shared_task

from dovetail_notify import delivery, digests, retention


@shared_task(name="dovetail_notify.deliver", ignore_result=True)
def deliver(using: str | None = None) -> None:
    """Send what is due. Schedule it every minute: it finds what a broker that was away was never told of."""
    delivery.deliver(using=using)


@shared_task(name="dovetail_notify.send_digests", ignore_result=True)
def send_digests() -> None:
    """Send the digests that are due. Every ten minutes or so."""
    digests.send_digests()


@shared_task(name="dovetail_notify.purge_notifications", ignore_result=True)
def purge_notifications() -> None:
    """Delete old notifications. Once a day is enough."""
    retention.purge_notifications()


#: A second attempt at once, for a connection that a restart of the broker left behind. Not ``retry=False``: that is not
#: heard where the connection is made, and kombu then tries for six seconds (measured, 5.7).
_AT_MOST_TWICE = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}


def run(using: str) -> None:
    """``NOTIFY_RUNNER``: a worker sends. A broker that is away costs milliseconds, one that is silent the seconds of
    ``broker_connection_timeout``, once in ten; the scheduled sweep follows.
    """
    deliver.apply_async(args=(using,), retry=True, retry_policy=_AT_MOST_TWICE)
