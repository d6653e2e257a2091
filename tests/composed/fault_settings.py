"""The composed service with timeouts that are short enough for tests."""

from __future__ import annotations

from tests.composed.queue_settings import *  # noqa: F403  # the other settings
from tests.composed.queue_settings import CELERY_BROKER_URL

NOTIFY_LEASE_SECONDS = 4
NOTIFY_BACKOFF_SECONDS = [1] * 20
CELERY_BEAT_SCHEDULE = {"sweep": {"task": "dovetail_notify.deliver", "schedule": 2.0}}
# Fail soon if the broker does not respond.
if CELERY_BROKER_URL.startswith("redis"):
    CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_connect_timeout": 1, "socket_timeout": 5}
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
