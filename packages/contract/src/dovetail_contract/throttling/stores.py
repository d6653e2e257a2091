"""Stores of counts. A store decides about several checks at once: it charges all of them, or none.

The algorithm is GCRA (ITU-T I.371). It stores one number per client, whatever the rate: the time at which the whole
limit is available again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Check:
    """``limit`` requests in ``window`` seconds, at most ``burst`` of them at once, counted under ``key``."""

    key: str
    limit: int
    window: int
    burst: int
    cost: int = 1

    @property
    def interval(self) -> int:
        """Microseconds until one more request is available."""
        return max(1, self.window * 1_000_000 // self.limit)


@dataclass(frozen=True, slots=True)
class Result:
    """Seconds: ``retry_after`` until the request would be allowed, ``reset_after`` until the whole limit is free."""

    allowed: bool
    remaining: int
    retry_after: float = 0
    reset_after: float = 0


class StoreUnavailable(Exception):
    """The store does not respond."""


class Store(Protocol):
    def hit(self, checks: Sequence[Check], *, charge: bool = True) -> list[Result]:
        """Decide, and count unless a check is refused or ``charge`` is false. Raise ``StoreUnavailable``."""


#: The number of entries above which expired entries are removed.
_SWEEP = 10_000


class MemoryStore:
    """Counts in the memory of one process: exact within it, and separate in each process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._full_at: dict[str, int] = {}
        self._sweep_at = _SWEEP

    def hit(self, checks: Sequence[Check], *, charge: bool = True) -> list[Result]:
        with self._lock:
            now = time.time_ns() // 1000
            decided = [decide(check, self._full_at.get(check.key, 0), now) for check in checks]
            if charge and all(result.allowed for result, _ in decided):
                for check, (_, full_at) in zip(checks, decided, strict=True):
                    self._full_at[check.key] = full_at
            self._sweep(now)
        return [result for result, _ in decided]

    def clear(self) -> None:
        with self._lock:
            self._full_at.clear()

    def _sweep(self, now: int) -> None:
        if len(self._full_at) > self._sweep_at:
            self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
            # Twice the live entries, so that the cost of sweeping per entry is constant.
            self._sweep_at = max(_SWEEP, 2 * len(self._full_at))


def decide(check: Check, full_at: int, now: int) -> tuple[Result, int]:
    """Return the decision, and the time to store if it is charged. ``contrib/gcra.lua`` is this in Lua."""
    interval = check.interval
    tolerance = interval * check.burst
    used_until = max(full_at, now)
    charged = used_until + interval * check.cost
    spare = now + tolerance - charged
    if spare >= 0:
        return Result(True, spare // interval, 0, (charged - now) / 1_000_000), charged
    remaining = max(0, (now + tolerance - used_until) // interval)
    return Result(False, remaining, -spare / 1_000_000, (used_until - now) / 1_000_000), full_at
