from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.db import transaction
from django.test import override_settings

from dovetail_core import attempts
from dovetail_core.attempts import Budget, TooManyAttempts, reserve

ACCOUNT = Budget("account", "ada", ((3, 60), (5, 3600)))


class CountingCache(LocMemCache):
    """A cache that other processes could share: its class is not LocMemCache for ``_store``."""


class AwayCache(DummyCache):
    """A cache whose server does not respond."""

    calls = 0

    def _fail(self, *args: Any, **kwargs: Any) -> Any:
        type(self).calls += 1
        raise ConnectionError("no server")

    add = incr = decr = get = set = delete = _fail


class LossyCache(DummyCache):
    def incr(self, key: str, delta: int = 1, version: int | None = None) -> int:
        raise ValueError(key)

    def add(self, *args: Any, **kwargs: Any) -> bool:
        return False


CACHES = {
    **settings.CACHES,
    "counter": {"BACKEND": "tests.core.test_attempts.CountingCache", "LOCATION": "counter"},
    "dummy": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
    "away": {"BACKEND": "tests.core.test_attempts.AwayCache"},
    "lossy": {"BACKEND": "tests.core.test_attempts.LossyCache"},
}
ALL = pytest.mark.parametrize("cache", ["default", "database", "counter", "dummy", "away", "lossy", "missing"])


@pytest.fixture(autouse=True)
def _empty(monkeypatch: pytest.MonkeyPatch, db: None) -> Iterator[None]:
    original = attempts._store
    monkeypatch.setattr(
        attempts,
        "_store",
        lambda cache: attempts._Counter(cache) if isinstance(cache, CountingCache) else original(cache),
    )
    with override_settings(CACHES=CACHES):
        for alias in ("default", "counter"):
            caches[alias].clear()
        attempts.reset()
        yield
        attempts.reset()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The current time, which a test may change. It begins with a period of every length."""
    now = [math.ceil(time.time() / 3600) * 3600.0]
    monkeypatch.setattr("dovetail_core.attempts.time.time", lambda: now[0])
    return now


def allowed(*budgets: Budget, cache: str, times: int = 10) -> int:
    count = 0
    for _ in range(times):
        try:
            reserve(*budgets, cache=cache)
            count += 1
        except TooManyAttempts:
            pass
    return count


@ALL
@pytest.mark.usefixtures("clock")
def test_limit_holds_in_every_cache(cache: str, caplog: pytest.LogCaptureFixture) -> None:
    assert allowed(ACCOUNT, cache=cache) == 3
    assert allowed(Budget("account", "grace", ACCOUNT.limits), cache=cache) == 3
    assert allowed(Budget("network", "ada", ACCOUNT.limits), cache=cache) == 3
    # The other caches count in the process, and those that fail say so.
    assert len(caplog.records) == (cache in ("away", "lossy", "missing"))


@ALL
def test_refund_frees_one_attempt_once(cache: str, clock: list[float]) -> None:
    reservations = [reserve(ACCOUNT, cache=cache) for _ in range(3)]
    reservations[0].refund()
    reservations[0].refund()
    assert allowed(ACCOUNT, cache=cache) == 1
    clock[0] += 60
    # Three of five per hour are counted, because a refund also applies to the longer period.
    assert allowed(ACCOUNT, cache=cache) == 2


@ALL
def test_refusal_tells_the_wait_and_the_first_of_a_period(cache: str, clock: list[float]) -> None:
    clock[0] += 20
    assert allowed(ACCOUNT, cache=cache, times=3) == 3
    errors = []
    for _ in range(2):
        with pytest.raises(TooManyAttempts, match=r"\(account\). Try again in 40 seconds") as caught:
            reserve(ACCOUNT, cache=cache)
        errors.append(caught.value)
    assert [(error.budget, error.wait, error.first) for error in errors] == [(ACCOUNT, 40, True), (ACCOUNT, 40, False)]


@ALL
@pytest.mark.usefixtures("clock")
def test_refused_attempt_does_not_spend_other_budgets(cache: str) -> None:
    network = Budget("network", "192.0.2.1", ((5, 60),))
    assert allowed(network, ACCOUNT, cache=cache) == 3
    assert allowed(network, cache=cache) == 2


@ALL
def test_forgotten_budget_is_free_again(cache: str, clock: list[float]) -> None:
    assert allowed(ACCOUNT, cache=cache) == 3
    attempts.forget(ACCOUNT, cache=cache)
    assert allowed(ACCOUNT, cache=cache) == 3


@ALL
def test_refund_of_forgotten_attempt_frees_no_further_attempt(cache: str) -> None:
    reservation = reserve(ACCOUNT, cache=cache)
    attempts.forget(ACCOUNT, cache=cache)
    reservation.refund()
    assert allowed(ACCOUNT, cache=cache) == 3


@ALL
def test_counter_counts_in_every_cache_and_is_never_negative(cache: str, caplog: pytest.LogCaptureFixture) -> None:
    assert attempts.add("guesses", -1, 60, cache=cache) == 0
    # A counter that expired is no failure of the cache.
    assert len(caplog.records) == (cache in ("away", "missing"))
    assert [attempts.add("guesses", amount, 60, cache=cache) for amount in (2, 3, -1)] == [2, 5, 4]


def test_call_returns_default_while_cache_is_unavailable() -> None:
    def calls(cache: Any) -> int:
        cache.set("guesses", 2)
        return int(cache.get("guesses"))

    assert attempts.call("default", calls, 7) == 2
    AwayCache.calls = 0
    assert [attempts.call("away", calls, 7) for _ in range(3)] == [7, 7, 7]
    assert AwayCache.calls == 1


@pytest.mark.parametrize("cache", ["default", "database", "counter", "dummy", "away"])
def test_fact_of_one_subject_is_remembered(cache: str) -> None:
    assert not attempts.is_remembered("known", "ada", cache=cache)
    attempts.remember("known", "ada", 60, cache=cache)
    assert attempts.is_remembered("known", "ada", cache=cache)
    assert not attempts.is_remembered("known", "grace", cache=cache)


def test_only_caches_with_atomic_counts_are_shared() -> None:
    assert [alias for alias in CACHES if attempts.is_shared(alias)] == ["database", "counter", "away", "lossy"]


@pytest.mark.parametrize("cache", ["default", "counter"])
@pytest.mark.usefixtures("clock")
def test_parallel_attempts_stay_within_the_limit(cache: str) -> None:
    results: list[int] = []
    barrier = threading.Barrier(60)

    def guess() -> None:
        barrier.wait(timeout=30)
        results.append(allowed(ACCOUNT, cache=cache, times=1))

    threads = [threading.Thread(target=guess) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert (len(results), sum(results)) == (60, 3)


@pytest.mark.usefixtures("clock")
def test_outage_continues_from_the_last_shared_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert allowed(ACCOUNT, cache="counter", times=2) == 2
    monkeypatch.setattr(CountingCache, "add", AwayCache._fail)
    assert allowed(ACCOUNT, cache="counter") == 1


@pytest.mark.usefixtures("clock")
def test_unavailable_cache_is_not_called_for_each_attempt(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    AwayCache.calls = 0
    allowed(ACCOUNT, cache="away")
    assert AwayCache.calls == 1
    assert [record.getMessage() for record in caplog.records] == [
        "The cache 'away' does not count attempts; each process does: ConnectionError."
    ]
    monkeypatch.setattr(attempts, "PAUSE", 0)
    attempts.reset()
    allowed(ACCOUNT, cache="away", times=1)
    assert AwayCache.calls > 2


@pytest.mark.usefixtures("clock")
def test_rolled_back_attempts_in_the_database_stay_counted() -> None:
    """``ATOMIC_REQUESTS`` rolls back after a 401, together with the rows of the database cache."""
    count = 0
    for _ in range(5):
        with transaction.atomic():
            count += allowed(ACCOUNT, cache="database", times=1)
            transaction.set_rollback(True)
    assert count == 3


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("durable", [True, False])
def test_locked_database_refuses_an_attempt_without_spending_the_limit(
    monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    """``DatabaseCache.add()`` returns False if the database is locked, as if the key existed."""
    monkeypatch.setattr(attempts._Slots, "durable", durable)
    with monkeypatch.context() as locked:
        locked.setattr(DatabaseCache, "add", lambda *args, **kwargs: False)
        assert allowed(ACCOUNT, cache="database", times=4) == 0
    assert allowed(ACCOUNT, cache="database", times=4) == 3


@pytest.mark.parametrize("cache", ["default", "away"])
def test_subtraction_does_not_shorten_life_of_counter(cache: str, clock: list[float]) -> None:
    attempts.add("guesses", 3, 86_400, cache=cache)
    attempts.add("guesses", -1, 1, cache=cache)
    clock[0] += 62
    # The cache goes away, if it was not.
    assert attempts.add("guesses", 1, 86_400, cache="away") == 3


def test_keys_contain_no_subject() -> None:
    reserve(ACCOUNT, cache="counter")
    keys = list(caches["counter"]._cache)
    assert keys
    assert not any("ada" in key for key in keys)


def test_memory_of_a_process_is_bounded(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    monkeypatch.setattr(attempts, "MAX_ENTRIES", 10)
    for number in range(25):
        reserve(Budget("account", str(number), ((1, 60),)))
        assert len(attempts._memory._entries) <= 10
    assert allowed(Budget("account", "24", ((1, 60),)), cache="default", times=1) == 0
    # Expired entries go first.
    clock[0] += 3600
    for number in range(10):
        reserve(Budget("account", f"later {number}", ((1, 60),)))
    assert allowed(Budget("account", "later 0", ((1, 60),)), cache="default", times=1) == 0
