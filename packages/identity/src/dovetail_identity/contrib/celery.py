"""Background work with Celery. ``autodiscover_tasks(related_name="contrib.celery")`` finds it."""

from __future__ import annotations

from celery import shared_task

from dovetail_identity import services


@shared_task(name="dovetail_identity.purge_sessions", ignore_result=True)
def purge_sessions() -> int:
    """Delete the sessions that have expired, and tell how many. Once a day is enough."""
    return services.purge_sessions()
