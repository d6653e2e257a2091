"""Background work with Celery. ``autodiscover_tasks(related_name="contrib.celery")`` finds it."""

from __future__ import annotations

from celery import shared_task

from dovetail_apikeys import services


@shared_task(name="dovetail_apikeys.announce_expiring_keys", ignore_result=True)
def announce_expiring_keys() -> int:
    """Emit ``api_key.expiring`` for the keys that expire soon, and tell how many. Once a day is enough."""
    return services.announce_expiring_keys()
