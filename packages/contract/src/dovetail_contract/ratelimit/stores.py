"""Where counts are kept. Each store decides about several checks at once: all are charged, or none.

The algorithm is GCRA (ITU-T I.371): of each client one number is kept, the time at which all that it has used would be
regained. No list of requests travels, whatever the rate.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Check:
    """``limit`` in ``window`` seconds, ``burst`` of them at once, for the client that ``key`` stands for."""

    key: str
    limit: int
    window: int
    burst: int
    cost: int = 1

    @property
    def interval(self) -> int:
        """Microseconds in which one request is regained."""
        return max(1, self.window * 1_000_000 // self.limit)


@dataclass(frozen=True, slots=True)
class Result:
    """In seconds: ``retry_after`` until the request would pass (0: it does), ``reset_after`` until all is regained."""

    allowed: bool
    remaining: int
    retry_after: float = 0
    reset_after: float = 0


class StoreUnavailable(Exception):
    """The counts cannot be reached."""


class Store(Protocol):
    def hit(self, checks: Sequence[Check], *, charge: bool = True) -> list[Result]:
        """Decide and, unless one is refused or ``charge`` is off, count. Raises ``StoreUnavailable``."""


#: Entries above which those that have run out are thrown away.
_SWEEP = 10_000


class MemoryStore:
    """Exact within one process, and each process has its own."""

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
            # Twice what is alive, so that sweeping costs a constant for each entry, however many there are.
            self._sweep_at = max(_SWEEP, 2 * len(self._full_at))


def decide(check: Check, full_at: int, now: int) -> tuple[Result, int]:
    """The decision, and the time to keep if it is charged. In microseconds, as contrib/gcra.lua, its twin."""
    interval = check.interval
    tolerance = interval * check.burst
    used_until = max(full_at, now)
    charged = used_until + interval * check.cost
    spare = now + tolerance - charged
    if spare >= 0:
        return Result(True, spare // interval, 0, (charged - now) / 1_000_000), charged
    remaining = max(0, (now + tolerance - used_until) // interval)
    return Result(False, remaining, -spare / 1_000_000, (used_until - now) / 1_000_000), full_at
