"""Limits that let exactly so many through, whoever asks at once, wherever from, and whatever is down."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.test import AsyncClient, Client, override_settings
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from dovetail_contract.checks import check_rates, check_store
from dovetail_contract.conf import conf
from dovetail_contract.ratelimit.limiter import Limited, Limiter, limiter
from dovetail_contract.ratelimit.policies import Policy, make, parse_rate
from dovetail_contract.ratelimit.stores import Check, MemoryStore, StoreUnavailable, decide
from dovetail_core import context

REDIS = os.environ.get("REDIS_URL", "")
SECOND = 1_000_000


@pytest.fixture(params=["memory", "redis"])
def store(request: Any) -> Any:
    if request.param == "memory":
        return MemoryStore()
    if not REDIS or find_spec("redis") is None:
        pytest.skip("no Redis: REDIS_URL names none")
    from dovetail_contract.contrib.redis import RedisStore

    return RedisStore(REDIS, timeout=20)  # two hundred at once on a busy machine take longer than a request may


def check(limit: int = 100, window: int = 3600, burst: int = 0, cost: int = 1, key: str = "") -> Check:
    return Check(key or uuid4().hex, limit, window, burst or limit, cost)


def at_once(count: int, call: Any) -> list[Any]:
    barrier = threading.Barrier(count)

    def run(_: int) -> Any:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_of_two_hundred_at_once_exactly_a_hundred_pass(store: Any) -> None:
    for _ in range(3):
        one = check(100)
        passed = at_once(200, lambda one=one: store.hit([one])[0].allowed)
        assert passed.count(True) == 100


WORKER = """
import sys
from django.conf import settings
settings.configure(SECRET_KEY="x" * 40)
from dovetail_contract.contrib.redis import RedisStore
from dovetail_contract.ratelimit.stores import Check
store = RedisStore(sys.argv[1], timeout=20)
store._client.ping()
print("ready", flush=True)
sys.stdin.readline()
print(sum(store.hit([Check(sys.argv[2], 100, 3600, 100)])[0].allowed for _ in range(50)))
"""


@pytest.mark.skipif(not REDIS, reason="no Redis: REDIS_URL names none")
def test_the_same_across_processes() -> None:
    command = [sys.executable, "-c", WORKER, REDIS, uuid4().hex]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen(command, **pipes) for _ in range(4)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    assert sum(int(worker.communicate()[0]) for worker in workers) == 100


def test_several_are_charged_together_or_not_at_all(store: Any) -> None:
    wide, narrow = check(100), check(2)
    for _ in range(2):
        assert all(result.allowed for result in store.hit([wide, narrow]))
    first, second = store.hit([wide, narrow])
    assert (first.allowed, first.remaining, second.allowed) == (True, 97, False)
    assert store.hit([wide])[0].remaining == 97


def test_asking_costs_nothing(store: Any) -> None:
    one = check(2)
    assert [store.hit([one], charge=False)[0].remaining for _ in range(3)] == [1, 1, 1]
    assert store.hit([one])[0].remaining == 1


def test_a_result_says_how_long(store: Any) -> None:
    one = check(limit=6, window=60, burst=2)
    assert store.hit([one])[0].remaining == 1
    assert store.hit([one])[0].reset_after == pytest.approx(20, abs=0.5)
    refused = store.hit([one])[0]
    assert (refused.allowed, refused.remaining) == (False, 0)
    assert refused.retry_after == pytest.approx(10, abs=0.5)


def test_a_request_may_cost_more(store: Any) -> None:
    one = check(limit=10, cost=4)
    assert [store.hit([one])[0].remaining for _ in range(3)] == [6, 2, 2]


@given(
    limit=st.integers(1, 20),
    window=st.integers(1, 60),
    steps=st.lists(st.integers(0, 3 * SECOND), max_size=80),
)
@examples(deadline=None)
def test_in_no_window_more_than_the_burst_and_what_was_regained_passes(
    limit: int, window: int, steps: list[int]
) -> None:
    one = check(limit, window, key="x")
    now, full_at = 10**15, 0
    passed: list[int] = []
    for step in steps:
        now += step
        result, kept = decide(one, full_at, now)
        if result.allowed:
            full_at = kept
            passed.append(now)
        else:
            # What it says about the time to wait is true: not a moment before, and then it does.
            wait = round(result.retry_after * SECOND)
            assert not decide(one, full_at, now + wait - 1)[0].allowed
            assert decide(one, full_at, now + wait)[0].allowed
    for index, begin in enumerate(passed):
        for count, end in enumerate(passed[index:], start=1):
            assert count <= limit + (end - begin) // one.interval + 1


def test_memory_does_not_grow(monkeypatch: Any) -> None:
    store = MemoryStore()
    clock = [10**18]
    monkeypatch.setattr("dovetail_contract.ratelimit.stores.time.time_ns", lambda: clock[0])
    for _ in range(30_000):
        clock[0] += 10**7
        store.hit([check(limit=1, window=1)])
    assert len(store._full_at) <= 10_001


# --- through views ---------------------------------------------------------------------------------------------------

SMALL = {"small": "2/hour", "anon": "100/hour"}
limits = override_settings(CONTRACT_RATE_LIMITS=SMALL)


def limited(path: str = "/api/limited", **headers: str) -> Any:
    return Client(raise_request_exception=False).get(path, headers=headers)


@limits
def test_every_answer_says_what_is_left() -> None:
    answer = limited()
    assert answer.headers["X-RateLimit-Limit"] == "2"
    assert answer.headers["X-RateLimit-Remaining"] == "1"
    assert answer.headers["RateLimit-Policy"] == '"anon";q=100;w=3600, "small";q=2;w=3600'
    assert answer.headers["RateLimit"] == '"anon";r=99;t=36, "small";r=1;t=1800'
    assert limited("/api/limited?fail").headers["X-RateLimit-Remaining"] == "0"
    refused = limited()
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert refused.json()["policy"] == "small"
    assert 1790 <= int(refused.headers["Retry-After"]) <= 1800
    assert refused.headers["Retry-After"] == str(refused.json()["retry_after"])
    assert f"t={refused.headers['Retry-After']}" in refused.headers["RateLimit"]
    assert refused.headers["X-RateLimit-Remaining"] == "0"


@limits
def test_a_throttle_scope_of_rest_frameworks_is_honoured() -> None:
    assert [limited("/api/scoped").status_code for _ in range(3)] == [200, 200, 429]


def test_rates_of_rest_framework_are_honoured(settings: Any) -> None:
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": {"small": "1/min", "anon": None}}
    assert [limited().status_code for _ in range(2)] == [200, 429]


@limits
def test_a_browsers_question_is_free() -> None:
    for _ in range(5):
        assert Client().options("/api/limited").status_code == 200
    assert limited().headers["X-RateLimit-Remaining"] == "1"


@limits
def test_an_address_of_the_clients_choice_is_no_new_client() -> None:
    answers = [limited(**{"x-forwarded-for": f"203.0.113.{number}"}).status_code for number in range(4)]
    assert answers == [200, 200, 429, 429]
    with override_settings(DOVETAIL_TRUSTED_PROXIES=["127.0.0.1"]):
        # The right end is what our own proxy saw; the left is what the client made up.
        behind = [limited(**{"x-forwarded-for": f"8.8.8.{number}, 203.0.113.9"}).status_code for number in range(3)]
        assert behind == [200, 200, 429]
        six = [limited(**{"x-forwarded-for": f"2001:db8:1:2::{number}"}).status_code for number in range(3)]
        assert six == [200, 200, 429]


@pytest.mark.django_db
@limits
def test_people_are_told_apart_and_not_by_their_address() -> None:
    answers = []
    for name in ("ada", "bob"):
        User.objects.create_user(name, password="x")
        answers += [limited(authorization=basic(name, "x")).status_code for _ in range(3)]
    assert answers == [200, 200, 429, 200, 200, 429]


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.mark.django_db
@override_settings(CONTRACT_RATE_LIMIT_FAILURES="3/hour")
def test_guessing_credentials_is_limited_and_a_good_guess_is_not_told() -> None:
    User.objects.create_user("ada", password="right")
    assert [limited("/api/private", authorization=basic("ada", "wrong")).status_code for _ in range(4)] == [
        401,
        401,
        401,
        429,
    ]
    assert limited("/api/private", authorization=basic("ada", "right")).status_code == 429
    assert Client().get("/nowhere").status_code == 404


@pytest.mark.django_db
@override_settings(CONTRACT_RATE_LIMIT_FAILURES="3/hour")
def test_who_succeeds_is_not_counted_as_failing() -> None:
    User.objects.create_user("ada", password="right")
    for _ in range(6):
        assert limited("/api/private", authorization=basic("ada", "right")).status_code == 200


@override_settings(CONTRACT_RATE_LIMIT_FLOOD="2/hour", CONTRACT_RATE_LIMIT_FAILURES=None)
def test_a_flood_is_refused_before_anything_else() -> None:
    assert [limited("/api/nowhere").status_code for _ in range(3)] == [404, 404, 429]
    assert limited("/nowhere").status_code == 404


@limits
def test_the_same_under_asgi() -> None:
    answers = [async_to_sync(AsyncClient().get)("/api/limited") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["X-RateLimit-Remaining"] == "1"


@override_settings(CONTRACT_RATE_LIMITS=SMALL, CONTRACT_RATE_LIMIT_MODE="shadow")
def test_a_shadow_only_tells(caplog: Any) -> None:
    assert [limited().status_code for _ in range(3)] == [200, 200, 200]
    assert "rate limit small would refuse" in caplog.text


def by_plan(request: Any) -> int | None:
    plan = request.query_params.get("plan")
    return {"free": 1, "paid": 3}.get(plan)


def by_header(request: Any) -> str | None:
    return request.headers.get("X-Device")


def test_limits_by_plan_and_by_whatever_a_function_says() -> None:
    policy = Policy("small", limit=by_plan, window=3600, by=by_header)
    with override_settings(CONTRACT_RATE_LIMITS={"small": policy}, CONTRACT_RATE_LIMIT_DEFAULT=[]):
        for plan, expected in (("free", [200, 429]), ("paid", [200] * 3 + [429]), ("none", [200] * 5)):
            path, device = f"/api/limited?plan={plan}", {"x-device": plan}
            assert [limited(path, **device).status_code for _ in expected] == expected
        assert [limited("/api/limited?plan=free").status_code for _ in range(3)] == [200] * 3


def test_an_organization_shares_one_limit() -> None:
    organization = make("small", {"rate": "1/hour", "by": "organization"})
    with override_settings(CONTRACT_RATE_LIMITS={"small": organization}, CONTRACT_RATE_LIMIT_DEFAULT=[]):
        assert [limited().status_code for _ in range(2)] == [200, 200]
        with context.bind(organization_id=7):
            assert [limited().status_code for _ in range(2)] == [200, 429]


# --- when the counts are away ----------------------------------------------------------------------------------------


class Down:
    def hit(self, checks: Any, *, charge: bool = True) -> Any:
        raise StoreUnavailable


@pytest.mark.parametrize(
    ("way", "expected"), [("allow", [200, 200, 200]), ("local", [200, 200, 429]), ("deny", [503, 503, 503])]
)
def test_what_happens_is_a_setting(way: str, expected: list[int], caplog: Any) -> None:
    with override_settings(
        CONTRACT_RATE_LIMITS=SMALL, CONTRACT_RATE_LIMIT_STORE=Down, CONTRACT_RATE_LIMIT_ON_ERROR=way
    ):
        answers = [limited() for _ in range(3)]
    assert [answer.status_code for answer in answers] == expected
    assert caplog.text.count("cannot be reached") == 1
    if way == "deny":
        assert answers[0].json()["code"] == "unavailable"
        assert answers[0].headers["Retry-After"]


def test_a_policy_may_have_a_way_of_its_own() -> None:
    ways = {"small": {"rate": "2/hour", "on_error": "deny"}, "anon": "9/hour"}
    with override_settings(CONTRACT_RATE_LIMITS=ways, CONTRACT_RATE_LIMIT_STORE=Down):
        assert limited().status_code == 503


@pytest.mark.skipif(find_spec("redis") is None, reason="redis is not installed")
def test_a_redis_that_is_not_there_costs_one_request_a_moment(monkeypatch: Any) -> None:
    from dovetail_contract.contrib import redis as contrib

    with override_settings(
        CONTRACT_RATE_LIMITS=SMALL,
        CONTRACT_RATE_LIMIT_STORE="dovetail_contract.contrib.redis.RedisStore",
        CONTRACT_RATE_LIMIT_LOCATION="redis://127.0.0.1:1/0",
    ):
        assert [limited().status_code for _ in range(3)] == [200, 200, 429]
        asked: list[int] = []
        monkeypatch.setattr(contrib.RedisStore, "_run", lambda *args: asked.append(1))
        assert limited().status_code == 429
        assert asked == []


@pytest.mark.skipif(not REDIS, reason="no Redis: REDIS_URL names none")
def test_one_round_trip_for_all_limits_of_a_request() -> None:
    import redis

    with override_settings(
        CONTRACT_RATE_LIMITS=SMALL,
        CONTRACT_RATE_LIMIT_STORE="dovetail_contract.contrib.redis.RedisStore",
        CONTRACT_RATE_LIMIT_LOCATION=REDIS,
    ):
        store: Any = limiter().store
        store._client.ping()
        sent: list[Any] = []
        original = redis.Redis.execute_command

        def counted(client: Any, *args: Any, **options: Any) -> Any:
            sent.append(args[0])
            return original(client, *args, **options)

        store._client.execute_command = counted.__get__(store._client)
        answer = Client().get("/api/limited", REMOTE_ADDR=f"2001:db8::{uuid4().hex[:4]}:1")
        assert answer.headers["RateLimit"].count(";r=") == 2
        assert sent == ["EVALSHA"] or sent == ["EVALSHA", "EVAL"]
        sent.clear()
        Client().get("/api/limited")
        assert sent == ["EVALSHA"]


@pytest.mark.skipif(not REDIS, reason="no Redis: REDIS_URL names none")
def test_a_redis_that_was_started_anew_learns_the_script_again() -> None:
    from dovetail_contract.contrib.redis import RedisStore

    store = RedisStore(REDIS)
    store._client.script_flush()
    assert store.hit([check()])[0].allowed
    assert store.hit([check()])[0].allowed


@pytest.mark.skipif(not REDIS, reason="no Redis: REDIS_URL names none")
def test_no_address_stands_in_redis_and_nothing_stays() -> None:
    from dovetail_contract.contrib.redis import RedisStore

    store = RedisStore(REDIS)
    one = Limited(make(uuid4().hex, "2/min"), 2, "address:203.0.113.7/32").check()
    store.hit([one])
    assert "203.0.113" not in one.key
    assert 0 < store._client.pttl(f"{{dovetail.rate}}:{one.key}") <= 31_000


# --- settings --------------------------------------------------------------------------------------------------------


def test_rates_read_as_rest_framework_writes_them() -> None:
    assert [parse_rate(rate) for rate in ("5/s", "60/min", "7/hour", "9/d", "10/minute")] == [
        (5, 1),
        (60, 60),
        (7, 3600),
        (9, 86400),
        (10, 60),
    ]
    for wrong in ("", "5", "0/min", "x/min", "5/week", "-1/s", "5 /s"):
        with pytest.raises(ValueError, match="is no rate"):
            parse_rate(wrong)


@pytest.mark.parametrize(
    "declared",
    [
        "5/week",
        {"rate": "5/min", "by": "planet"},
        {"rate": "5/min", "per": 1},
        {"limit": 0, "window": 60},
        {"limit": 5},
        {"rate": "5/min", "on_error": "panic"},
    ],
)
def test_a_wrong_rate_is_found_at_the_start(declared: Any, settings: Any) -> None:
    throttle = "dovetail_contract.throttling.RateLimitThrottle"
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_CLASSES": [throttle]}
    settings.CONTRACT_RATE_LIMITS = {"small": declared}
    assert [found.id for found in check_rates(None)] == ["dovetail_contract.E002"]


def test_counting_in_each_process_is_named_before_deployment(settings: Any) -> None:
    assert list(check_store(None)) == []
    throttle = "dovetail_contract.throttling.RateLimitThrottle"
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_CLASSES": [throttle]}
    assert [found.id for found in check_store(None)] == ["dovetail_contract.W002"]


def test_the_limiter_is_the_present_settings() -> None:
    assert isinstance(limiter(), Limiter)
    assert conf.RATE_LIMIT_STORE is MemoryStore
    with override_settings(CONTRACT_RATE_LIMIT_STORE=Down):
        assert isinstance(limiter().store, Down)
    assert isinstance(limiter().store, MemoryStore)
