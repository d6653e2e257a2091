"""Celery tasks. ``autodiscover_tasks(related_name="contrib.celery")`` registers them."""

from __future__ import annotations

from celery import shared_task

from dovetail_apikeys import services


@shared_task(name="dovetail_apikeys.announce_expiring_keys", ignore_result=True)
def announce_expiring_keys() -> int:
    """Emit ``api_key.expiring`` for keys that expire soon, and return their number. Run it once a day."""
    return services.announce_expiring_keys()
