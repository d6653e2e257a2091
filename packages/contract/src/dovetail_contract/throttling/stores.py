"""Stores of counts. A store decides about several checks at once: it charges all of them, or none.

The algorithm is GCRA (ITU-T I.371). It stores one number per client, whatever the rate: the time at which the whole
limit is available again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Check:
    """``limit`` requests in ``window`` seconds, at most ``burst`` of them at once, counted under ``key``.

    ``used`` is what the caller knows to be used at least, in microseconds until the whole limit is available. A store
    that knows of less use, because it was restarted, continues from there. It may ignore ``used``.
    """

    key: str
    limit: int
    window: int
    burst: int
    cost: int = 1
    # Not compared: it differs with each request, and a cache for equal checks would never have an entry.
    used: int = field(default=0, compare=False)

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
#: The maximum number of entries, about 20 MB. Above it, half of them are removed: those that were used least recently.
MAX_ENTRIES = 100_000

#: Microseconds by which a store may lag behind what this process knows. A request that takes longer to the store than
#: the one before would otherwise be counted as use.
_TOLERANCE = 50_000


class MemoryStore:
    """Counts in the memory of one process: exact within it, and separate in each process.

    Beside another store, it remembers what that store has answered, for the time when it does not answer.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._full_at: dict[str, int] = {}
        self._sweep_at = _SWEEP

    def hit(self, checks: Sequence[Check], *, charge: bool = True) -> list[Result]:
        with self._lock:
            moment = now()
            decided = [decide(check, self._full_at.get(check.key, 0), moment) for check in checks]
            if charge and all(result.allowed for result, _ in decided):
                for check, (_, full_at) in zip(checks, decided, strict=True):
                    self._put(check.key, full_at)
            self._sweep(moment)
        return [result for result, _ in decided]

    def known(self, checks: Sequence[Check]) -> list[int]:
        """Return the microseconds until the whole limit is available, which the shared store should know of."""
        with self._lock:
            moment = now() + _TOLERANCE
            return [max(0, self._full_at.get(check.key, 0) - moment) for check in checks]

    def learn(self, checks: Sequence[Check], results: Sequence[Result], *, asked_at: int) -> None:
        """Remember the answer of the shared store.

        ``asked_at`` is a time before the question. Counted from there, the remembered use is never more than the real
        one, however late the answer was read. Answers to several threads may be read out of order.
        """
        with self._lock:
            for check, result in zip(checks, results, strict=True):
                answer = asked_at + int(result.reset_after * 1_000_000)
                self._put(check.key, max(answer, self._full_at.get(check.key, 0)))
            self._sweep(asked_at)

    def clear(self) -> None:
        with self._lock:
            self._full_at.clear()

    def _put(self, key: str, full_at: int) -> None:
        self._full_at.pop(key, None)  # so that the entry moves to the end
        self._full_at[key] = full_at

    def _sweep(self, now: int) -> None:
        if len(self._full_at) > self._sweep_at:
            live = [(key, full_at) for key, full_at in self._full_at.items() if full_at > now]
            # A client may have a network for each request: an IPv6 provider assigns billions of /64.
            self._full_at = dict(live[-(MAX_ENTRIES // 2) :])
            # Twice the live entries, so that the cost of sweeping per entry is constant.
            self._sweep_at = max(_SWEEP, 2 * len(self._full_at))


def now() -> int:
    """Return the time in microseconds, of a clock that only this process has."""
    # Not the time of day: if it were set back, limits would stay used up for as long.
    return time.monotonic_ns() // 1000


def decide(check: Check, full_at: int, now: int) -> tuple[Result, int]:
    """Return the decision, and the time to store if it is charged. ``contrib/gcra.lua`` is this in Lua."""
    interval = check.interval
    tolerance = interval * check.burst
    used_until = max(full_at, now + check.used)
    charged = used_until + interval * check.cost
    spare = now + tolerance - charged
    if spare >= 0:
        return Result(True, spare // interval, 0, (charged - now) / 1_000_000), charged
    remaining = max(0, (now + tolerance - used_until) // interval)
    return Result(False, remaining, -spare / 1_000_000, (used_until - now) / 1_000_000), full_at
