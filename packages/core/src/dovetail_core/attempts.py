"""Limits on guesses at a secret. An attempt is counted before the secret is compared, and refunded if it is right.

The attack: a limit that counts failures afterwards evaluates as many parallel guesses as the server has threads.

Counts are in a cache of the project. Redis and Memcached increment atomically. The database cache does not (``incr``
reads, then writes), but adds a key only once, so there an attempt takes one of ``limit`` numbered keys. Other caches
cannot be shared or evict entries that an attacker can make (``LocMemCache`` holds 300), so the process counts instead.

Each process also remembers the counts that it sees. While the cache is unavailable, it continues from these.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.db import connections, router

from dovetail_core.secrets import keyed_hash

T = TypeVar("T")

logger = logging.getLogger("dovetail.attempts")

#: Pairs of a maximum number and a period in seconds. Every pair applies. Empty means no limit.
Limits = Sequence[tuple[int, int]]

#: Seconds for which a cache is not called after a failure, so that not every request waits for its timeout.
PAUSE = 10.0
#: The number of entries of the process above which expired entries, else the oldest, are removed. About 20 MB.
MAX_ENTRIES = 100_000
# The period is a part of the key, so an entry must outlive it, on servers with slightly different clocks too.
_MARGIN = 60


@dataclass(frozen=True, slots=True)
class Budget:
    """The attempts of one ``subject`` (an address, an account), counted together within each of ``limits``.

    ``name`` separates kinds of attempts. The cache holds a keyed hash of the subject.
    """

    name: str
    subject: str
    limits: Limits

    def key(self, seconds: int, now: float) -> str:
        subject = keyed_hash("dovetail_core.attempts", self.subject)[:32]
        return f"dovetail:attempts:{self.name}:{subject}:{seconds}:{int(now // seconds)}"


class TooManyAttempts(Exception):
    """``budget`` is spent. ``wait`` is the number of seconds until its period ends.

    ``first`` is true once per period and budget, for events that should not repeat with every refused request.
    """

    def __init__(self, budget: Budget, wait: float, *, first: bool) -> None:
        super().__init__(f"Too many attempts ({budget.name}). Try again in {wait:.0f} seconds.")
        self.budget = budget
        self.wait = wait
        self.first = first


class Reservation:
    """One counted attempt, with an entry for each limit."""

    def __init__(self, cache: str, entries: Sequence[tuple[str, str | None]]) -> None:
        self._cache = cache
        self._entries = tuple(entries)

    def refund(self) -> None:
        """Subtract the attempt, because its secret was right. Repeated calls have no effect."""
        entries, self._entries = self._entries, ()
        for key, entry in entries:
            _memory.release(key)
            if entry is not None:
                with _Failures(self._cache):
                    _shared(self._cache).release(entry)


def reserve(*budgets: Budget, cache: str = "default") -> Reservation:
    """Count an attempt for all budgets, in order. If one is spent, count nothing and raise ``TooManyAttempts``."""
    now = time.time()
    entries: list[tuple[str, str | None]] = []
    for budget in budgets:
        for limit, seconds in budget.limits:
            key = budget.key(seconds, now)
            taken, entry = _take(cache, key, limit, seconds)
            if not taken:
                Reservation(cache, entries).refund()
                raise TooManyAttempts(budget, seconds - now % seconds, first=_add(cache, f"{key}:refused", seconds))
            entries.append((key, entry))
    return Reservation(cache, entries)


def forget(*budgets: Budget, cache: str = "default") -> None:
    """Delete the counts of the present periods."""
    now = time.time()
    for budget in budgets:
        for limit, seconds in budget.limits:
            key = budget.key(seconds, now)
            _memory.discard(key)
            with _Failures(cache):
                _shared(cache).discard(key, limit)


def add(key: str, amount: int, seconds: int, *, cache: str = "default") -> int:
    """Add to a counter that lives for at least ``seconds``, and return its value. Subtract with a negative amount.

    Unlike :func:`reserve`, this uses every cache with an atomic ``incr``, ``LocMemCache`` too.
    """
    with _Failures(cache):
        counters = _open(cache)
        if _increments(counters):
            value = _Counter(counters).add(key, amount, seconds)
            _memory.note(key, value, seconds)
            return value
    return _memory.add(key, amount, seconds)


def call(cache: str, function: Callable[[BaseCache], T], default: T) -> T:
    """Return the result of ``function`` with this cache, or ``default`` while the cache is unavailable."""
    with _Failures(cache):
        return function(_open(cache))
    return default


def remember(name: str, subject: str, seconds: int, *, cache: str = "default") -> None:
    """Store that ``subject`` has done ``name``, for ``seconds``."""
    key = _fact(name, subject)
    _memory.note(key, 1, seconds)
    with _Failures(cache):
        _shared(cache).cache.set(key, 1, seconds)


def is_remembered(name: str, subject: str, *, cache: str = "default") -> bool:
    key = _fact(name, subject)
    with _Failures(cache):
        return _shared(cache).cache.get(key) is not None
    return _memory.count(key) > 0


def is_shared(cache: str) -> bool:
    """Return whether all processes share the counts of the cache with this alias. Raise if there is none."""
    return _store(caches[cache]) is not None


def reset() -> None:
    """Forget the counts of this process, for tests. The counts in a shared cache stay."""
    _memory.clear()
    _paused_until.clear()


class _Memory:
    """Counts of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, tuple[int, float]] = {}

    def take(self, key: str, limit: int, seconds: int) -> bool:
        with self._lock:
            count = self._count(key)
            if count >= limit:
                return False
            self._put(key, count + 1, seconds)
            return True

    def note(self, key: str, count: int, seconds: int) -> None:
        with self._lock:
            self._put(key, count, seconds)

    def release(self, key: str) -> None:
        with self._lock:
            if count := self._count(key):
                self._entries[key] = (count - 1, self._entries[key][1])

    def add(self, key: str, amount: int, seconds: int) -> int:
        with self._lock:
            count = max(0, self._count(key) + amount)
            self._put(key, count, seconds)
            return count

    def discard(self, key: str) -> None:
        with self._lock:
            self._entries.pop(key, None)

    def count(self, key: str) -> int:
        with self._lock:
            return self._count(key)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def _count(self, key: str) -> int:
        count, expires = self._entries.get(key, (0, 0.0))
        return count if expires > time.time() else 0

    def _put(self, key: str, count: int, seconds: int) -> None:
        if key not in self._entries and len(self._entries) >= MAX_ENTRIES:
            now = time.time()
            live = {name: entry for name, entry in self._entries.items() if entry[1] > now}
            # The oldest half of live entries. Only an attacker with ten thousands of networks makes so many.
            excess = len(live) // 2 if len(live) >= MAX_ENTRIES else 0
            self._entries = dict(list(live.items())[excess:])
        # Never earlier than before: while the cache is away, a refund for one second would reset a limit per day.
        expires = max(self._entries.get(key, (0, 0.0))[1], time.time() + seconds + _MARGIN)
        self._entries[key] = (count, expires)


class _Store(Protocol):
    cache: BaseCache

    @property
    def durable(self) -> bool:
        """Whether a rollback of the caller's transaction leaves the counts as they are."""

    def take(self, key: str, limit: int, seconds: int) -> tuple[str | None, int]:
        """Count an attempt. Return the entry to release, or None if it is refused, and the count."""

    def release(self, entry: str) -> None: ...
    def discard(self, key: str, limit: int) -> None: ...


class _Counter:
    """One counter per key, in a cache with an atomic ``incr``."""

    durable = True

    def __init__(self, cache: BaseCache) -> None:
        self.cache = cache

    def take(self, key: str, limit: int, seconds: int) -> tuple[str | None, int]:
        count = self.add(key, 1, seconds)
        if count > limit:
            self.release(key)
            return None, limit
        return key, count

    def release(self, entry: str) -> None:
        self.add(entry, -1, 0)

    def discard(self, key: str, limit: int) -> None:
        self.cache.delete(key)

    def add(self, key: str, amount: int, seconds: int) -> int:
        for _ in range(3):
            if amount > 0 and self.cache.add(key, amount, seconds + _MARGIN):
                return amount
            try:
                return int(self.cache.incr(key, amount))
            except ValueError:
                # It expired or was evicted between the two calls.
                if amount < 0:
                    return 0
        raise RuntimeError("The cache loses its counters.")


class _Slots:
    """``limit`` numbered keys, each of which only one attempt can add, in a cache without an atomic ``incr``."""

    def __init__(self, cache: BaseCache) -> None:
        self.cache = cache

    @property
    def durable(self) -> bool:
        model: Any = self.cache.cache_model_class  # type: ignore[attr-defined]  # missing in the stubs
        return not connections[router.db_for_write(model)].in_atomic_block

    def take(self, key: str, limit: int, seconds: int) -> tuple[str | None, int]:
        slots = self._slots(key, limit)
        used = self.cache.get_many(slots)
        for slot in slots:
            if slot not in used and self.cache.add(slot, 1, seconds + _MARGIN):
                return slot, len(used) + 1
        # ``add()`` also fails if the database is locked. That refuses this attempt, but must not spend the limit.
        return None, limit if len(used) == limit else len(self.cache.get_many(slots))

    def release(self, entry: str) -> None:
        self.cache.delete(entry)

    def discard(self, key: str, limit: int) -> None:
        self.cache.delete_many(self._slots(key, limit))

    @staticmethod
    def _slots(key: str, limit: int) -> list[str]:
        return [f"{key}:{number}" for number in range(limit)]


class _NotShared(Exception):
    """The process counts instead."""


class _Failures:
    """Suppresses every exception of a cache, and pauses the cache, except for ``_NotShared``."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if isinstance(error, _NotShared):
            return True
        if not isinstance(error, Exception):
            return False
        _paused_until[self.alias] = time.monotonic() + PAUSE
        logger.error("The cache %r does not count attempts; each process does: %s.", self.alias, type(error).__name__)
        return True


_memory = _Memory()
_paused_until: dict[str, float] = {}


def _take(alias: str, key: str, limit: int, seconds: int) -> tuple[bool, str | None]:
    """Return whether the attempt is within the limit, and its entry in the shared cache."""
    with _Failures(alias):
        store = _shared(alias)
        entry, count = store.take(key, limit, seconds)
        if store.durable or (entry is None and count >= limit):
            _memory.note(key, count, seconds)
        # ATOMIC_REQUESTS rolls back the counts of a request that is refused, so the process counts as well.
        elif entry is not None and not _memory.take(key, limit, seconds):
            store.release(entry)
            entry = None
        return entry is not None, entry
    return _memory.take(key, limit, seconds), None


def _add(alias: str, key: str, seconds: int) -> bool:
    with _Failures(alias):
        return bool(_shared(alias).cache.add(key, 1, seconds + _MARGIN))
    return _memory.take(key, 1, seconds)


def _shared(alias: str) -> _Store:
    store = _store(_open(alias))
    if store is None:
        raise _NotShared
    return store


def _open(alias: str) -> BaseCache:
    if _paused_until.get(alias, 0) > time.monotonic():
        raise _NotShared
    return caches[alias]


def _store(cache: BaseCache) -> _Store | None:
    if isinstance(cache, DatabaseCache):
        return _Slots(cache)
    return _Counter(cache) if _increments(cache) and not isinstance(cache, LocMemCache) else None


def _increments(cache: BaseCache) -> bool:
    # BaseCache.incr reads, adds and writes, so two parallel attempts can count as one.
    incr: Any = type(cache).incr
    return incr is not BaseCache.incr


def _fact(name: str, subject: str) -> str:
    return f"dovetail:attempts:{name}:{keyed_hash('dovetail_core.attempts', subject)[:32]}"
