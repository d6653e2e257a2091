from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache
from rest_framework.throttling import UserRateThrottle

from dovetail_apikeys.api import throttling
from dovetail_apikeys.api.throttling import APIKeyRateThrottle, OrganizationRateThrottle
from tests.apikeys.factories import bearer, make_firm, make_key, make_user, signed_in
from tests.apikeys.firms.views import Plain

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    class Clock:
        now = 600_000.5

        def time(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(throttling, "time", clock)
    return clock


@pytest.fixture
def _by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plain, "throttle_classes", [APIKeyRateThrottle])


def statuses(client: Any, count: int) -> list[int]:
    return [client.get("/plain/").status_code for _ in range(count)]


@pytest.mark.usefixtures("_by_key")
def test_each_key_is_counted_separately(settings: Any, clock: Any) -> None:
    settings.API_KEYS_RATE = "2/min"
    one, two = bearer(make_key()[1]), bearer(make_key()[1])
    assert statuses(one, 3) == [200, 200, 429]
    assert statuses(two, 3) == [200, 200, 429]
    assert one.get("/plain/")["Retry-After"] == "60"
    clock.now += 59
    assert one.get("/plain/")["Retry-After"] == "1"
    clock.now += 1
    assert statuses(one, 3) == [200, 200, 429]
    user = signed_in(make_user())
    assert statuses(user, 5) == [200] * 5


@pytest.mark.usefixtures("_by_key")
def test_own_rate_of_a_key_overrides_the_setting(settings: Any) -> None:
    own = bearer(make_key(rate_limit="3/hour")[1])
    assert statuses(own, 4) == [200, 200, 200, 429]
    unlimited = bearer(make_key()[1])
    assert statuses(unlimited, 4) == [200] * 4
    settings.API_KEYS_RATE = "1/s"
    assert statuses(bearer(make_key(rate_limit="2/day")[1]), 3) == [200, 200, 429]


def test_keys_of_an_organization_are_counted_together(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(Plain, "throttle_classes", [OrganizationRateThrottle])
    firm = make_firm()
    one, two, other = (bearer(make_key(owner)[1]) for owner in (firm, firm, make_firm()))
    assert statuses(one, 3) == [200] * 3
    settings.API_KEYS_ORGANIZATION_RATE = "3/min"
    assert statuses(one, 2) + statuses(two, 2) == [200, 200, 200, 429]
    assert statuses(other, 1) == [200]


def test_user_rate_throttle_distinguishes_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    class TwoPerMinute(UserRateThrottle):
        rate = "2/min"

    monkeypatch.setattr(Plain, "throttle_classes", [TwoPerMinute])
    assert [statuses(bearer(make_key()[1]), 3) for _ in range(2)] == [[200, 200, 429]] * 2


@pytest.mark.usefixtures("_by_key")
def test_evicted_count_restarts(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.API_KEYS_RATE = "1/min"
    # Evict the count between add() and incr().
    monkeypatch.setattr(throttling.cache, "add", lambda *args: cache.clear())
    assert statuses(bearer(make_key()[1]), 2) == [200, 200]
