"""Limits on guesses and on requests for mails."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.exceptions import Throttled
from rest_framework.response import Response

from dovetail_core.events import Event
from dovetail_magiclink import get_magic_link_model, services
from dovetail_magiclink.services import limits
from dovetail_magiclink.testing import mailed_code, mailed_key
from tests.magiclink.conftest import wrong

pytestmark = pytest.mark.django_db
Ask = Callable[..., str]
Post = Callable[..., Any]
MagicLink = get_magic_link_model()


class Clock:
    def __init__(self) -> None:
        # The beginning of a day, so that no window ends unexpectedly within a test.
        self.now = float(20_000 * 86_400)

    def forward(self, seconds: float) -> None:
        self.now += seconds

    def datetime(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    with patch("time.time", lambda: clock.now), patch("django.utils.timezone.now", clock.datetime):
        yield clock


def from_network(address: str) -> dict[str, str]:
    return {"REMOTE_ADDR": address}


def test_code_locks_after_five_guesses_but_link_works(post: Post, ask: Ask, user: Any) -> None:
    request_id = ask()
    for _ in range(5):
        post("verify", token=wrong(mailed_code()), request_id=request_id)
    assert MagicLink.objects.get().attempts == 5
    for which in ({"request_id": request_id}, {"email": "ada@example.com"}, {}):
        assert post("verify", token=mailed_code(), **which).status_code == 400
    assert post("verify", k=mailed_key()).status_code == 200


def test_fifth_guess_can_succeed(post: Post, ask: Ask, user: Any) -> None:
    request_id = ask()
    for _ in range(4):
        post("verify", token=wrong(mailed_code()), request_id=request_id)
    assert post("verify", token=mailed_code(), email="ada@example.com").status_code == 200


def test_new_code_does_not_reset_account_failures(post: Post, ask: Ask, user: Any, clock: Clock) -> None:
    for _ in range(4):
        request_id = ask()
        for _ in range(5):
            post("verify", token=wrong(mailed_code()), request_id=request_id)
    request_id = ask("ADA@example.com")
    assert MagicLink.objects.get(pk=request_id).prior_failures == 20
    for which in ({"request_id": request_id}, {"email": "ada@example.com"}, {}):
        assert post("verify", token=mailed_code(), **which).status_code == 400
    assert post("verify", k=mailed_key()).status_code == 200
    # A sign-in resets the count.
    request_id = ask()
    assert post("verify", token=mailed_code(), request_id=request_id).status_code == 200


def test_account_limit_applies_within_one_code(post: Post, ask: Ask, user: Any, settings: Any) -> None:
    settings.MAGIC_LINK_MAX_FAILURES = 7
    first, second = ask(), None
    for _ in range(6):
        post("verify", token=wrong(mailed_code()), request_id=first)
    second = ask()
    for _ in range(5):
        post("verify", token=wrong(mailed_code()), request_id=second)
    assert MagicLink.objects.get(pk=second).attempts == 2


def test_account_failures_expire_after_a_day(post: Post, ask: Ask, user: Any, clock: Clock) -> None:
    for _ in range(4):
        request_id = ask()
        for _ in range(5):
            post("verify", token=wrong(mailed_code()), request_id=request_id)
    clock.forward(86_400 - 1)
    request_id = ask()
    assert post("verify", token=mailed_code(), request_id=request_id).status_code == 400
    clock.forward(2)
    request_id = ask()
    assert post("verify", token=mailed_code(), request_id=request_id).status_code == 200


def test_network_limit_does_not_affect_other_networks(post: Post, ask: Ask, user: Any, clock: Clock) -> None:
    ask()
    here, elsewhere = from_network("192.0.2.1"), from_network("192.0.2.2")
    for _ in range(10):
        post("verify", token=wrong(mailed_code()), extra=here)
    assert post("verify", token=mailed_code(), extra=here).status_code == 400
    # Bound codes and links do not use this limit.
    request_id = ask()
    assert post("verify", token=mailed_code(), request_id=request_id, extra=here).status_code == 200
    ask()
    assert post("verify", k=mailed_key(), extra=here).status_code == 200
    ask()
    assert post("verify", token=mailed_code(), extra=elsewhere).status_code == 200
    ask()
    clock.forward(900)
    ask()
    assert post("verify", token=mailed_code(), extra=here).status_code == 200


def test_successful_proofs_are_not_counted(post: Post, ask: Ask, user: Any, clock: Clock) -> None:
    for _ in range(15):
        ask()
        assert post("verify", token=mailed_code()).status_code == 200
        ask()
        assert post("verify", k=mailed_key()).status_code == 200


def test_wrong_links_and_codes_are_counted_separately(post: Post, ask: Ask, user: Any, clock: Clock) -> None:
    ask()
    for _ in range(11):
        post("verify", k="A" * 43)
    assert post("verify", k=mailed_key()).status_code == 400
    assert post("verify", token=mailed_code()).status_code == 200


@pytest.mark.parametrize(
    ("addresses", "limited"),
    [
        ([f"2001:db8::{number:x}" for number in range(11)], True),
        ([f"2001:db8:0:{number:x}::1" for number in range(11)], False),
    ],
)
def test_ipv6_network_limit_applies_per_64_prefix(
    post: Post, ask: Ask, user: Any, clock: Clock, addresses: list[str], limited: bool
) -> None:
    ask()
    for address in addresses[:-1]:
        post("verify", token=wrong(mailed_code()), extra=from_network(address))
    answer = post("verify", token=mailed_code(), extra=from_network(addresses[-1]))
    assert (answer.status_code == 400) is limited


def test_untrusted_forwarded_for_is_ignored(post: Post, ask: Ask, user: Any, clock: Clock) -> None:
    ask()
    for number in range(11):
        post("verify", token=wrong(mailed_code()), extra={"HTTP_X_FORWARDED_FOR": f"192.0.2.{number}"})
    assert post("verify", token=mailed_code(), extra={"HTTP_X_FORWARDED_FOR": "192.0.2.99"}).status_code == 400


@pytest.mark.parametrize(("codes", "allowed"), [(1, 1000), (5, 200), (50, 20), (500, 2), (1001, 0)])
def test_risk_budget_is_divided_by_live_codes(
    rf: Any, clock: Clock, events: list[Event], caplog: pytest.LogCaptureFixture, codes: int, allowed: int
) -> None:
    """New codes count twice, in the query and as new, so half of the budget is available."""
    caplog.set_level(logging.CRITICAL)
    for _ in range(codes):
        limits.count_new_code()
    with patch("django.db.models.query.QuerySet.count", return_value=codes):
        assert limits.live_codes() == 2 * codes
        made = 0
        while limits.reserve_code(rf.post("/", REMOTE_ADDR=f"10.{made >> 16}.{made >> 8 & 255}.{made & 255}")):
            made += 1
        assert made == allowed
        assert limits.reserve_code(rf.post("/", REMOTE_ADDR="192.0.2.7")) is None
    assert [(event.name, dict(event.data)) for event in events] == [
        ("magic_link.under_attack", {"live_codes": 2 * codes, "seconds": 900})
    ]
    assert len(caplog.records) == 1


def test_daily_risk_budget_limits_many_windows(rf: Any, clock: Clock, events: list[Event]) -> None:
    made = 0
    for window in range(96):
        with patch("django.db.models.query.QuerySet.count", return_value=50):
            while limits.reserve_code(rf.post("/", REMOTE_ADDR=f"10.0.{window}.{made % 256}")):
                made += 1
        clock.forward(900)
    assert made == 200
    assert [event.data["seconds"] for event in events].count(86_400) == 1


def test_spent_risk_budget_blocks_only_unbound_codes(
    post: Post, ask: Ask, user: Any, clock: Clock, settings: Any, events: list[Event]
) -> None:
    settings.MAGIC_LINK_RISK_BUDGET = ((1e-7, 900),)
    request_id = ask()
    for number in range(6):
        post("verify", token=wrong(mailed_code()), extra=from_network(f"192.0.2.{number}"))
    assert [event.name for event in events].count("magic_link.under_attack") == 1
    assert post("verify", token=mailed_code()).status_code == 400
    assert post("verify", token=mailed_code(), request_id=request_id).status_code == 200
    ask()
    assert post("verify", k=mailed_key()).status_code == 200
    ask()
    assert post("verify", token=mailed_code(), email="ada@example.com").status_code == 200
    clock.forward(900)
    ask()
    assert post("verify", token=mailed_code()).status_code == 200


def test_live_codes_exclude_used_superseded_and_expired(post: Post, ask: Ask, user: Any, clock: Clock) -> None:
    for number in range(4):
        ask(f"user{number}@example.com")
    ask("user0@example.com")
    ask()
    post("verify", token=mailed_code())
    clock.forward(31)
    assert limits.live_codes() == 4
    clock.forward(900)
    assert limits.live_codes() == 1


def test_live_code_count_is_cached_for_ten_seconds(clock: Clock) -> None:
    for expected in (1, 0):
        with CaptureQueriesContext(connection) as queries:
            limits.live_codes()
        assert len(queries) == expected
    # New codes are counted immediately: a flood of requests must not make guesses cheap.
    for _ in range(100):
        limits.count_new_code()
    assert limits.live_codes() == 100
    clock.forward(11)
    with CaptureQueriesContext(connection) as queries:
        assert limits.live_codes() >= 100
    assert len(queries) == 1


@pytest.mark.parametrize(
    ("times", "waits"),
    [
        ([0, 59], [None, 1]),
        ([0, 60], [None, None]),
        ([0, 60, 120, 180, 240, 300], [None] * 5 + [3300]),
        ([0, 60, 120, 180, 240, 3600], [None] * 6),
        ([*range(0, 36_000, 3600), 40_000], [None] * 10 + [46_400]),
    ],
)
def test_requests_per_address_are_limited(
    post: Post, clock: Clock, times: list[int], waits: list[int | None], settings: Any
) -> None:
    begun = clock.now
    for at, wait in zip(times, waits, strict=True):
        clock.now = begun + at
        answer = post("request", email="Ada@example.com" if at % 2 else "ada@example.com")
        assert answer.status_code == (202 if wait is None else 429), at
        assert answer.headers.get("Retry-After") == (None if wait is None else str(wait))


def test_rejected_request_keeps_last_code_valid(post: Post, user: Any, clock: Clock) -> None:
    post("request", email="ada@example.com")
    assert post("request", email="ada@example.com").status_code == 429
    assert post("verify", token=mailed_code()).status_code == 200


def test_requests_per_network_and_site_are_limited(post: Post, clock: Clock, settings: Any) -> None:
    settings.MAGIC_LINK_REQUESTS_PER_SITE = ((25, 3600),)
    for number in range(30):
        network = from_network(f"192.0.2.{number // 20}")
        answer = post("request", email=f"user{number}@example.com", extra=network)
        assert answer.status_code == (202 if number < 25 else 429)
        if number == 19:
            assert post("request", email="one@example.com", extra=network).status_code == 429
            assert post("request", email="one@example.com", extra=network).headers["Retry-After"] == "3600"


@pytest.mark.parametrize("where", ["any", "same_network", "off"])
def test_unbound_codes_setting_restricts_networks(post: Post, ask: Ask, user: Any, settings: Any, where: str) -> None:
    settings.MAGIC_LINK_UNBOUND_CODES = where
    for address, near in (("198.51.100.7", False), ("192.0.2.250", True)):
        request_id = ask(REMOTE_ADDR="192.0.2.1")
        answer = post("verify", token=mailed_code(), extra=from_network(address))
        assert (answer.status_code == 200) is (where == "any" or (where == "same_network" and near))
        if answer.status_code != 200:
            bound = post("verify", token=mailed_code(), request_id=request_id, extra=from_network(address))
            assert bound.status_code == 200


def test_without_limits_settings_disable_all_limits(post: Post, ask: Ask, user: Any, settings: Any) -> None:
    from dovetail_magiclink.testing import WITHOUT_LIMITS

    for name, value in WITHOUT_LIMITS.items():
        setattr(settings, name, value)
    ask()
    for _ in range(60):
        post("verify", token=wrong(mailed_code()))
    assert post("verify", token=mailed_code()).status_code == 200


def test_evicted_counter_restarts(clock: Clock) -> None:
    with patch.object(cache, "add", side_effect=[False, True]):
        assert limits.add("a", 1, 60) == 1
    limits.add("b", -1, 60)


def test_guesses_are_limited_without_the_cache(post: Post, ask: Ask, user: Any, settings: Any) -> None:
    """Before, `magic/verify/` answered 500 while Redis was away."""
    ask()
    settings.MAGIC_LINK_FAILURES_PER_NETWORK = ((3, 86400),)
    with patch.object(LocMemCache, "add", side_effect=ConnectionError) as add:
        compared = "dovetail_magiclink.services.verification._consume"
        with patch(compared, return_value=None) as consume:
            for _ in range(5):
                assert post("verify", token="12345678").status_code == 400
        assert consume.call_count == 3
        assert post("verify", token=mailed_code()).status_code == 400
        assert post("verify", k=mailed_key()).status_code == 200
    # After a failure, the cache is left alone for a while.
    assert add.call_count == 1


def test_spent_budget_without_the_cache_blocks_unbound_codes(post: Post, ask: Ask, user: Any, settings: Any) -> None:
    ask()
    settings.MAGIC_LINK_RISK_BUDGET = ((2e-8, 86400),)
    settings.MAGIC_LINK_CACHE = "away"
    statuses = [post("verify", token="12345678").status_code for _ in range(3)]
    assert statuses == [400] * 3
    assert post("verify", token=mailed_code()).status_code == 400
    assert post("request", email="new@example.com").status_code == 202


def test_service_raises_too_many_requests(rf: Any, clock: Clock) -> None:
    services.request_magic_link(email="ada@example.com", request=rf.post("/"))
    with pytest.raises(services.TooManyRequests, match="60 seconds") as error:
        services.request_magic_link(email="ada@example.com", request=rf.post("/"))
    assert error.value.wait == 60


def test_throttled_request_uses_project_exception_handler(post: Post, settings: Any) -> None:
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "EXCEPTION_HANDLER": handle}
    post("request", email="ada@example.com")
    assert post("request", email="ada@example.com").json() == {"code": "throttled"}


def handle(error: Exception, context: Any) -> Response:
    assert isinstance(error, Throttled)
    return Response({"code": error.default_code}, 429)


def test_window_boundaries_are_exact(clock: Clock) -> None:
    assert limits.reserve("x", ((1, 60),)) is not None
    clock.forward(59.9)
    assert limits.reserve("x", ((1, 60),)) is None
    clock.forward(0.1)
    assert limits.reserve("x", ((1, 60),)) is not None
    assert time.time() == clock.now


def test_guess_at_expired_code_is_not_counted(post: Post, ask: Ask, user: Any, clock: Clock) -> None:
    request_id = ask()
    clock.forward(timedelta(minutes=15).total_seconds())
    post("verify", token=mailed_code(), request_id=request_id)
    assert MagicLink.objects.get().attempts == 0
