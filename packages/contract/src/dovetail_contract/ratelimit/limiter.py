"""All limits of a request, decided together; and what happens when the counts are out of reach."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.core.signals import setting_changed

from dovetail_contract.conf import conf
from dovetail_contract.ratelimit.policies import Policy
from dovetail_contract.ratelimit.stores import Check, MemoryStore, Result, Store, StoreUnavailable
from dovetail_core.secrets import keyed_hash

logger = logging.getLogger("dovetail.ratelimit")


@dataclass(frozen=True, slots=True)
class Limited:
    """One policy of a request, with the limit that holds for it."""

    policy: Policy
    limit: int
    subject: str

    @property
    def burst(self) -> int:
        return self.policy.burst or self.limit

    def check(self) -> Check:
        policy = self.policy
        return _check(policy.name, self.subject, self.limit, policy.window, self.burst, policy.cost)


@lru_cache(maxsize=4096)
def _check(name: str, subject: str, limit: int, window: int, burst: int, cost: int) -> Check:
    # No address and no key of a user stands in the store. Remembered, because a client comes again.
    key = f"{name}:{keyed_hash('dovetail_contract.ratelimit', subject)[:32]}"
    return Check(key, limit, window, burst, cost)


@dataclass(frozen=True, slots=True)
class Decision:
    limited: Sequence[Limited]
    results: Sequence[Result]
    #: A policy that says ``deny`` could not be asked.
    unavailable: bool = False

    @property
    def refused(self) -> tuple[Limited, Result] | None:
        """The policy that holds the request up the longest."""
        if all(result.allowed for result in self.results):
            return None
        refused = [
            (each, result) for each, result in zip(self.limited, self.results, strict=True) if not result.allowed
        ]
        return max(refused, key=lambda pair: pair[1].retry_after, default=None)

    @property
    def retry_after(self) -> int:
        refused = self.refused
        # Rounded up: a client that comes back in the moment before is refused again.
        return max(1, math.ceil(refused[1].retry_after)) if refused else 0

    def headers(self) -> dict[str, str]:
        """``X-RateLimit-*`` of the policy with the least left, and all by draft-ietf-httpapi-ratelimit-headers-10."""
        if not self.limited:
            return {}
        pairs = list(zip(self.limited, self.results, strict=True))
        tightest, left = self.refused or min(pairs, key=lambda pair: pair[1].remaining / pair[0].burst)
        policies = (f'"{each.policy.name}";q={each.limit};w={each.policy.window}' for each in self.limited)
        states = (f'"{each.policy.name}";r={result.remaining};t={_seconds(result)}' for each, result in pairs)
        return {
            "X-RateLimit-Limit": str(tightest.limit),
            "X-RateLimit-Remaining": str(left.remaining),
            "RateLimit-Policy": ", ".join(policies),
            "RateLimit": ", ".join(states),
        }


def _seconds(result: Result) -> int:
    return max(1, math.ceil(result.retry_after)) if not result.allowed else math.ceil(result.reset_after)


class Limiter:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.local = store if isinstance(store, MemoryStore) else MemoryStore()
        self._told_at = -math.inf

    def decide(self, limited: Sequence[Limited], *, charge: bool = True) -> Decision:
        """Ask about all of them in one go."""
        checks = [each.check() for each in limited]
        try:
            return Decision(limited, self.store.hit(checks, charge=charge) if checks else [])
        except StoreUnavailable as error:
            self._tell(error)
            return self._without_store(limited, checks, charge=charge)

    def _without_store(self, limited: Sequence[Limited], checks: Sequence[Check], *, charge: bool) -> Decision:
        ways = [each.policy.on_error or conf.RATE_LIMIT_ON_ERROR for each in limited]
        if "deny" in ways:
            return Decision((), (), unavailable=True)
        kept = [(each, check) for each, check, way in zip(limited, checks, ways, strict=True) if way == "local"]
        results = self.local.hit([check for _, check in kept], charge=charge)
        return Decision([each for each, _ in kept], results)

    def _tell(self, error: StoreUnavailable) -> None:
        # Once a minute and process, and not for every request of an outage.
        if time.monotonic() - self._told_at >= 60:
            self._told_at = time.monotonic()
            logger.error("The counts of the rate limits cannot be reached.", exc_info=error)


_limiters: dict[Any, Limiter] = {}
_lock = threading.Lock()


def limiter() -> Limiter:
    """The one of this process, for the present settings."""
    key = (conf.RATE_LIMIT_STORE, conf.RATE_LIMIT_LOCATION)
    found = _limiters.get(key)
    if found is None:
        with _lock:
            found = _limiters.setdefault(key, Limiter(conf.RATE_LIMIT_STORE()))
    return found


def _forget(*, setting: str = "", **_: Any) -> None:
    if setting.startswith("CONTRACT_RATE_LIMIT"):
        _limiters.clear()
    if setting.startswith(("SECRET_KEY", "DOVETAIL_SECRET_PEPPERS")):
        _check.cache_clear()


setting_changed.connect(_forget, dispatch_uid="dovetail_contract.ratelimit")
