"""Evaluates a flag ten times a second in a process of its own, and prints each change.

``watcher.py DATABASE SECONDS [REDIS_URL]``: ``DATABASE`` is JSON, the keys of ``DATABASES["default"]`` to replace. With
``REDIS_URL``, the process first waits until it gets the messages of other processes.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.flags.settings_on_file"


def main(database: str, seconds: str, redis_url: str = "") -> None:
    from django.conf import settings

    settings.DATABASES["default"] |= json.loads(database)
    settings.FLAGS_REFRESH_SECONDS = float(seconds)
    connected = threading.Event()
    if redis_url:
        settings.FLAGS_INVALIDATION_LOCATION = redis_url
        settings.FLAGS_INVALIDATION = lambda: _channel(connected)
    else:
        connected.set()
    django.setup()

    from dovetail_flags import flags

    previous = None
    end = time.monotonic() + 60
    while time.monotonic() < end:
        # The health first: it reads flags that are due, and the evaluation would otherwise be that of before.
        healthy = flags.health().healthy
        state = [flags.enabled("rollout"), healthy]
        if state != previous and connected.is_set():
            print(json.dumps([*state, time.time()]), flush=True)
            previous = state
        time.sleep(0.1)


def _channel(connected: threading.Event) -> Any:
    from dovetail_flags.contrib.redis import RedisInvalidation

    class Channel(RedisInvalidation):
        def start(self, changed: Callable[[], None]) -> None:
            def report() -> None:
                changed()
                connected.set()

            super().start(report)

    return Channel()


main(*sys.argv[1:])
