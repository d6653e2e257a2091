"""Tells other processes of a change at once by Redis, instead of within ``FLAGS_REFRESH_SECONDS``. Requires ``redis``::

    FLAGS_INVALIDATION = "dovetail_flags.contrib.redis.RedisInvalidation"
    FLAGS_INVALIDATION_LOCATION = "redis://localhost:6379/0"

Without Redis, processes read changes as if the setting were not set.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from dovetail_flags.conf import conf
from dovetail_flags.providers.base import Invalidation

logger = logging.getLogger("dovetail.flags")

CHANNEL: Final = "dovetail_flags"
#: Seconds that a change waits for Redis after its commit.
PUBLISH_SECONDS: Final = 0.5
#: Seconds between two attempts to connect again.
RETRY_SECONDS: Final = 2.0


class RedisInvalidation(Invalidation):
    """Publishes each change to a channel, to which each process subscribes in a thread of its own."""

    #: For the check E005.
    requires_location = True

    def __init__(self, url: str = "") -> None:
        self._url = url or conf.INVALIDATION_LOCATION
        self._closed = threading.Event()

    def start(self, changed: Callable[[], None]) -> None:
        threading.Thread(target=self._listen, args=[changed], name="dovetail-flags-redis", daemon=True).start()

    def publish(self) -> None:
        with self._client(socket_timeout=PUBLISH_SECONDS) as client:
            client.publish(CHANNEL, "changed")

    def close(self) -> None:
        self._closed.set()

    def _listen(self, changed: Callable[[], None]) -> None:
        reported = False
        while not self._closed.is_set():
            try:
                client = self._client(health_check_interval=15, socket_keepalive=True)
                with client.pubsub(ignore_subscribe_messages=True) as messages:  # type: ignore[no-untyped-call]  # no types
                    messages.subscribe(CHANNEL)
                    # Changes may have been missed while there was no connection.
                    changed()
                    reported = False
                    while not self._closed.is_set():
                        # With a timeout, so that the health check notices a connection that is silently gone.
                        if messages.get_message(timeout=1) is not None:
                            changed()
            except (RedisError, OSError) as error:
                if not reported:
                    logger.warning("Changes of feature flags do not arrive by Redis: %s", error)
                    reported = True
                self._closed.wait(RETRY_SECONDS)

    def _client(self, **options: Any) -> redis.Redis:
        # The library's default retries for seconds.
        retry = Retry(NoBackoff(), 0)
        return redis.Redis.from_url(self._url, socket_connect_timeout=PUBLISH_SECONDS, retry=retry, **options)
