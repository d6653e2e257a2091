"""Decides about all limits of a request at once, also while the store is unavailable.

While it is, the processes cannot count together. Each remembers what the store last answered, and assumes that every
other process receives the same requests as itself: it charges each request once for every process. Together they allow
at most the limit again, and never more than twice the limit in all. Each call tells the store what the process knows,
because the store may have been restarted.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from django.core.signals import setting_changed

from dovetail_contract.conf import conf
from dovetail_contract.throttling.policies import Policy
from dovetail_contract.throttling.stores import Check, MemoryStore, Result, Store, StoreUnavailable, now
from dovetail_core.conf import conf as core
from dovetail_core.secrets import keyed_hash

logger = logging.getLogger("dovetail.ratelimit")


@dataclass(frozen=True, slots=True)
class Limited:
    """A policy that applies to a request, with the limit and the subject for that request."""

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
    # Hashed, so that the store contains no addresses or primary keys. Cached, because clients send many requests.
    key = f"{name}:{keyed_hash('dovetail_contract.ratelimit', subject)[:32]}"
    return Check(key, limit, window, burst, cost)


@dataclass(frozen=True, slots=True)
class Decision:
    limited: Sequence[Limited]
    results: Sequence[Result]
    #: The store is unavailable, and ``on_error`` of a policy is ``deny``.
    unavailable: bool = False

    @property
    def refused(self) -> tuple[Limited, Result] | None:
        """The policy with the longest wait of those that refuse the request, or None."""
        pairs = zip(self.limited, self.results, strict=True)
        refused = [(limited, result) for limited, result in pairs if not result.allowed]
        return max(refused, key=lambda pair: pair[1].retry_after, default=None)

    @property
    def retry_after(self) -> int:
        refused = self.refused
        # Rounded up, because a client that returns a moment too early would be refused again.
        return max(1, math.ceil(refused[1].retry_after)) if refused else 0

    def headers(self) -> dict[str, str]:
        """``X-RateLimit-*`` for the tightest policy, and draft-ietf-httpapi-ratelimit-headers-10 for all."""
        if not self.limited:
            return {}
        pairs = list(zip(self.limited, self.results, strict=True))
        tightest, left = self.refused or min(pairs, key=lambda pair: pair[1].remaining / pair[0].burst)
        policies = (f'"{entry.policy.name}";q={entry.limit};w={entry.policy.window}' for entry in self.limited)
        states = (f'"{entry.policy.name}";r={result.remaining};t={_seconds(result)}' for entry, result in pairs)
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
        self._logged_at = -math.inf

    def decide(self, limited: Sequence[Limited], *, charge: bool = True) -> Decision:
        """Return the decision about all policies, with one call of the store."""
        checks = [entry.check() for entry in limited]
        try:
            return Decision(limited, self._hit(checks, charge=charge) if checks else [])
        except StoreUnavailable as error:
            # At most once a minute per process, and not for every request during an outage.
            if time.monotonic() - self._logged_at >= 60:
                self._logged_at = time.monotonic()
                logger.error("The store of the rate limits is unavailable.", exc_info=error)
            return self._without_store(limited, checks, charge=charge)

    def _hit(self, checks: Sequence[Check], *, charge: bool) -> Sequence[Result]:
        if self.local is self.store:
            return self.store.hit(checks, charge=charge)
        asked_at = now()
        # Redis may have been restarted, or has not seen the requests that this process allowed without it. Otherwise
        # each restart would give every client the whole limit again. In the same call as the charge: a second call
        # would charge the policies again of which Redis has the counts.
        known = self.local.known(checks)
        asked = [replace(check, used=use) if use else check for check, use in zip(checks, known, strict=True)]
        results = self.store.hit(asked, charge=charge)
        self.local.learn(checks, _charged(checks, results, charge=charge), asked_at=asked_at)
        return results

    def _without_store(self, limited: Sequence[Limited], checks: Sequence[Check], *, charge: bool) -> Decision:
        modes = [entry.policy.on_error or conf.RATE_LIMIT_ON_ERROR for entry in limited]
        if "deny" in modes:
            return Decision((), (), unavailable=True)
        local = [(entry, check) for entry, check, mode in zip(limited, checks, modes, strict=True) if mode == "local"]
        # A limit below the number of processes has no share for each, so it refuses: W006 names it.
        processes = core.PROCESSES or 1
        shares = [replace(check, cost=check.cost * processes) for _, check in local]
        results = [
            replace(result, remaining=result.remaining // processes) for result in self.local.hit(shares, charge=charge)
        ]
        return Decision([entry for entry, _ in local], results)


def _charged(checks: Sequence[Check], results: Sequence[Result], *, charge: bool) -> Sequence[Result]:
    """Return the results without the charge that an allowed request reports although nothing was charged."""
    if charge and all(result.allowed for result in results):
        return results
    return [
        replace(result, reset_after=result.reset_after - check.cost * check.interval / 1_000_000)
        if result.allowed
        else result
        for check, result in zip(checks, results, strict=True)
    ]


_limiters: dict[Any, Limiter] = {}
_lock = threading.Lock()


def limiter() -> Limiter:
    key = (conf.RATE_LIMIT_STORE, conf.RATE_LIMIT_LOCATION)
    current = _limiters.get(key)
    if current is None:
        with _lock:
            current = _limiters.setdefault(key, Limiter(conf.RATE_LIMIT_STORE()))
    return current


def _forget(*, setting: str = "", **_: Any) -> None:
    if setting.startswith("CONTRACT_RATE_LIMIT"):
        _limiters.clear()
    if setting.startswith(("SECRET_KEY", "DOVETAIL_SECRET_PEPPERS")):
        _check.cache_clear()


setting_changed.connect(_forget, dispatch_uid="dovetail_contract.ratelimit")
