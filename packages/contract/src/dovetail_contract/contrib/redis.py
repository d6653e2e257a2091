"""Counts in Redis, for every process: one round trip for a request, whatever the number of its limits.

``CONTRACT_RATE_LIMIT_STORE = "dovetail_contract.contrib.redis.RedisStore"``, at ``CONTRACT_RATE_LIMIT_LOCATION``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from hashlib import sha1
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from dovetail_contract.conf import conf
from dovetail_contract.ratelimit.stores import Check, Result, StoreUnavailable

SCRIPT = (Path(__file__).parent / "gcra.lua").read_text()
_SHA = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

#: Seconds that a request waits for Redis at most.
TIMEOUT = 0.05
#: Seconds after a failure in which Redis is not asked, so that not every request waits for the timeout.
PAUSE = 5.0


class RedisStore:
    def __init__(self, url: str = "", *, timeout: float = TIMEOUT) -> None:
        self._client: Any = redis.Redis.from_url(
            url or conf.RATE_LIMIT_LOCATION,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            # One for each thread that asks at once; the library's hundred are an error for the one after.
            max_connections=10_000,
            # The library's own would wait and try again, for seconds.
            retry=Retry(NoBackoff(), 0),
        )
        self._paused_until = 0.0

    def hit(self, checks: Sequence[Check], *, charge: bool = True) -> list[Result]:
        if time.monotonic() < self._paused_until:
            raise StoreUnavailable
        arguments: list[Any] = [f"{{dovetail.rate}}:{check.key}" for check in checks]
        arguments.append(int(charge))
        for check in checks:
            arguments += [check.interval, check.interval * check.burst, check.cost]
        try:
            answer = self._run(len(checks), arguments)
        except RedisError as error:
            self._paused_until = time.monotonic() + PAUSE
            raise StoreUnavailable from error
        groups = zip(*[iter(answer)] * 4, strict=True)
        return [Result(bool(a), int(left), retry / 1_000_000, reset / 1_000_000) for a, left, retry, reset in groups]

    def _run(self, keys: int, arguments: list[Any]) -> Any:
        try:
            return self._client.execute_command("EVALSHA", _SHA, keys, *arguments)
        except NoScriptError:
            # Redis was started anew, or emptied. EVAL keeps the script for the next ones.
            return self._client.execute_command("EVAL", SCRIPT, keys, *arguments)
