"""Limits are exact with concurrent requests and forged addresses, and defined while Redis is unavailable."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path as route
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from rest_framework.views import APIView

from dovetail_contract.checks import check_rates, check_shares, check_store, check_views
from dovetail_contract.conf import conf
from dovetail_contract.middleware import CacheControlMiddleware
from dovetail_contract.testing import reset_rate_limits
from dovetail_contract.throttling import policies
from dovetail_contract.throttling.limiter import Limited, Limiter, limiter
from dovetail_contract.throttling.policies import Policy, make_policy, parse_rate
from dovetail_contract.throttling.stores import Check, MemoryStore, Result, StoreUnavailable, decide
from dovetail_contract.throttling.stores import now as clock
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

    return RedisStore(REDIS, timeout=20)  # 200 concurrent calls on a busy machine exceed the default timeout


def check(limit: int = 100, window: int = 3600, burst: int = 0, cost: int = 1, key: str = "") -> Check:
    return Check(key or uuid4().hex, limit, window, burst or limit, cost)


def at_once(count: int, call: Any) -> list[Any]:
    barrier = threading.Barrier(count)

    def run(_: int) -> Any:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_exactly_one_hundred_of_two_hundred_concurrent_requests_pass(store: Any) -> None:
    for _ in range(3):
        one = check(100)
        passed = at_once(200, lambda one=one: store.hit([one])[0].allowed)
        assert passed.count(True) == 100


WORKER = """
import sys
from django.conf import settings
settings.configure(SECRET_KEY="x" * 40)
from dovetail_contract.contrib.redis import RedisStore
from dovetail_contract.throttling.stores import Check
store = RedisStore(sys.argv[1], timeout=20)
store.hit([Check(sys.argv[2], 100, 3600, 100)], charge=False)
print("ready", flush=True)
sys.stdin.readline()
print(sum(store.hit([Check(sys.argv[2], 100, 3600, 100)])[0].allowed for _ in range(50)))
"""


@pytest.mark.skipif(not REDIS, reason="REDIS_URL is not set")
def test_limit_is_exact_across_processes() -> None:
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


def test_checks_are_charged_together_or_not_at_all(store: Any) -> None:
    wide, narrow = check(100), check(2)
    for _ in range(2):
        assert all(result.allowed for result in store.hit([wide, narrow]))
    first, second = store.hit([wide, narrow])
    assert (first.allowed, first.remaining, second.allowed) == (True, 97, False)
    assert store.hit([wide])[0].remaining == 97


def test_check_without_charge_costs_nothing(store: Any) -> None:
    one = check(2)
    assert [store.hit([one], charge=False)[0].remaining for _ in range(3)] == [1, 1, 1]
    assert store.hit([one])[0].remaining == 1


def test_result_has_waiting_times(store: Any) -> None:
    one = check(limit=6, window=60, burst=2)
    assert store.hit([one])[0].remaining == 1
    assert store.hit([one])[0].reset_after == pytest.approx(20, abs=0.5)
    refused = store.hit([one])[0]
    assert (refused.allowed, refused.remaining) == (False, 0)
    assert refused.retry_after == pytest.approx(10, abs=0.5)


def test_limit_of_years_is_exact(store: Any) -> None:
    assert store.hit([check(limit=1, window=10**9, burst=2000, cost=1000)])[0].reset_after == pytest.approx(10**12)


def test_cost_is_charged(store: Any) -> None:
    one = check(limit=10, cost=4)
    assert [store.hit([one])[0].remaining for _ in range(3)] == [6, 2, 2]


@given(
    limit=st.integers(1, 20),
    window=st.integers(1, 60),
    steps=st.lists(st.integers(0, 3 * SECOND), max_size=80),
)
@examples(deadline=None)
def test_no_window_exceeds_burst_plus_rate(limit: int, window: int, steps: list[int]) -> None:
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
            # The waiting time is exact: refused a microsecond before, allowed after it.
            wait = round(result.retry_after * SECOND)
            assert not decide(one, full_at, now + wait - 1)[0].allowed
            assert decide(one, full_at, now + wait)[0].allowed
    for index, begin in enumerate(passed):
        for count, end in enumerate(passed[index:], start=1):
            assert count <= limit + (end - begin) // one.interval + 1


def test_expired_entries_are_removed(monkeypatch: Any) -> None:
    store = MemoryStore()
    clock = [10**18]
    monkeypatch.setattr("dovetail_contract.throttling.stores.time.monotonic_ns", lambda: clock[0])
    for _ in range(30_000):
        clock[0] += 10**7
        store.hit([check(limit=1, window=1)])
    assert len(store._full_at) <= 10_001


def test_number_of_entries_is_bounded(monkeypatch: Any) -> None:
    """With an IPv6 network for each request, the memory of the process grew until the limits were full again."""
    monkeypatch.setattr("dovetail_contract.throttling.stores.MAX_ENTRIES", 2_000)
    monkeypatch.setattr("dovetail_contract.throttling.stores._SWEEP", 100)
    store, sizes = MemoryStore(), []
    often = check(key="often")
    for number in range(5_000):
        asked_at = clock()
        store.learn([often, check(key=str(number))], [Result(True, 9, 0, 3600)] * 2, asked_at=asked_at)
        sizes.append(len(store._full_at))
    assert max(sizes) <= 2_001
    # Not with every request: copying the entries would stop the other threads.
    assert sum(after < before for before, after in itertools.pairwise(sizes)) <= 5
    assert store.known([often, check(key="4999"), check(key="0")]) == [pytest.approx(3600 * SECOND, rel=0.01)] * 2 + [0]


# --- through views ---------------------------------------------------------------------------------------------------

SMALL = {"small": "2/hour", "anon": "100/hour"}
limits = override_settings(CONTRACT_RATE_LIMITS=SMALL)


def limited(path: str = "/api/limited", **headers: str) -> Any:
    return Client(raise_request_exception=False).get(path, headers=headers)


@limits
def test_each_response_has_rate_limit_headers() -> None:
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
def test_throttle_scope_is_honoured() -> None:
    assert [limited("/api/scoped").status_code for _ in range(3)] == [200, 200, 429]


def test_default_throttle_rates_are_honoured(settings: Any) -> None:
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": {"small": "1/min", "anon": None}}
    assert [limited().status_code for _ in range(2)] == [200, 429]


@limits
def test_preflight_is_free() -> None:
    for _ in range(5):
        assert Client().options("/api/limited").status_code == 200
    assert limited().headers["X-RateLimit-Remaining"] == "1"


@limits
def test_forged_address_is_ignored() -> None:
    answers = [limited(**{"x-forwarded-for": f"203.0.113.{number}"}).status_code for number in range(4)]
    assert answers == [200, 200, 429, 429]
    with override_settings(DOVETAIL_TRUSTED_PROXIES=["127.0.0.1"]):
        # The trusted proxy appends on the right; the client can forge everything to the left.
        behind = [limited(**{"x-forwarded-for": f"8.8.8.{number}, 203.0.113.9"}).status_code for number in range(3)]
        assert behind == [200, 200, 429]
        six = [limited(**{"x-forwarded-for": f"2001:db8:1:2::{number}"}).status_code for number in range(3)]
        assert six == [200, 200, 429]


@pytest.mark.django_db
@limits
def test_users_are_counted_separately() -> None:
    answers = []
    for name in ("ada", "bob"):
        User.objects.create_user(name, password="x")
        answers += [limited(authorization=basic(name, "x")).status_code for _ in range(3)]
    assert answers == [200, 200, 429, 200, 200, 429]


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.mark.django_db
@override_settings(CONTRACT_RATE_LIMIT_FAILURES="3/hour")
def test_credential_guessing_is_limited() -> None:
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
def test_successful_authentication_is_not_counted() -> None:
    User.objects.create_user("ada", password="right")
    for _ in range(6):
        assert limited("/api/private", authorization=basic("ada", "right")).status_code == 200


@pytest.mark.django_db
@override_settings(CONTRACT_RATE_LIMIT_FAILURES="2/hour")
def test_asking_whether_somebody_is_signed_in_is_no_failure() -> None:
    # Pages of django-allauth and of session APIs ask this again and again. The whole network was blocked.
    for path in ("/api/private", "/api/session"):
        assert [limited(path).status_code for _ in range(4)] == [401] * 4
    # A password in the body, a header of the view's own, and a rejected token can be guesses.
    assert [Client().post("/api/session").status_code for _ in range(3)] == [401, 401, 429]
    reset_rate_limits()
    assert [limited("/api/keyed", key="a").status_code for _ in range(3)] == [401, 401, 429]
    reset_rate_limits()
    assert [limited("/api/session", authorization="Bearer a").status_code for _ in range(3)] == [401, 401, 429]


@pytest.mark.django_db
@override_settings(CONTRACT_RATE_LIMIT_FAILURES="2/hour")
def test_asking_with_headers_of_browsers_and_proxies_is_no_failure(settings: Any) -> None:
    settings.DOVETAIL_CLIENT_ADDRESS_HEADER = "Clientaddress"
    settings.CSRF_HEADER_NAME = "HTTP_X_XSRF_TOKEN"
    names = ["accept-language", "clientaddress", "content-type", "cookie", "if-none-match", "sec-fetch-site"]
    headers = dict.fromkeys([*names, "x-forwarded-for", "x-xsrf-token"], "a")
    assert [Client(headers=headers).get("/api/session").status_code for _ in range(4)] == [401] * 4


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "header"),
    [
        ("/api/session?token=a", ""),
        ("/api/session", "X-Session-Token"),
        ("/api/session", "X-Forwarded-Access-Token"),
        ("/api/flattened", "X-API-Key"),
    ],
)
@override_settings(CONTRACT_RATE_LIMIT_FAILURES="2/hour")
def test_guesses_outside_of_authorization_are_limited(path: str, header: str) -> None:
    headers = {header: "a"} if header else {}
    assert [Client(headers=headers).get(path).status_code for _ in range(3)] == [401, 401, 429]


@pytest.mark.django_db
@override_settings(CONTRACT_RATE_LIMIT_FAILURES="2/hour")
def test_body_of_get_may_be_a_guess() -> None:
    answers = [Client().generic("GET", "/api/session", '{"token": "a"}').status_code for _ in range(3)]
    assert answers == [401, 401, 429]


@pytest.mark.django_db
@override_settings(CONTRACT_RATE_LIMIT_FAILURES="2/hour")
def test_not_authenticated_is_no_failure_with_other_headers() -> None:
    # Pages poll lists after their session has expired, and send headers of their own.
    headers = {"X-Client-Version": "5"}
    assert [Client(headers=headers).get("/api/private?limit=5").status_code for _ in range(4)] == [401] * 4


@override_settings(CONTRACT_RATE_LIMIT_FAILURES="2/hour")
def test_code_of_a_failure_may_be_no_text() -> None:
    assert [Client().get("/api/returned/code_list").status_code for _ in range(3)] == [401] * 3


@override_settings(CONTRACT_RATE_LIMIT_FLOOD="2/hour", CONTRACT_RATE_LIMIT_FAILURES=None)
def test_flood_is_refused_first() -> None:
    assert [limited("/api/nowhere").status_code for _ in range(3)] == [404, 404, 429]
    assert limited("/nowhere").status_code == 404


@limits
def test_limits_under_asgi() -> None:
    answers = [async_to_sync(AsyncClient().get)("/api/limited") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["X-RateLimit-Remaining"] == "1"


@pytest.mark.django_db
@override_settings(CONTRACT_RATE_LIMIT_FAILURES="2/hour")
def test_failures_are_limited_under_asgi(monkeypatch: Any) -> None:
    threads: list[str] = []

    def counted(call: Any) -> Any:
        threads.append(call.__name__)
        return sync_to_async(call)

    monkeypatch.setattr("dovetail_contract.middleware.sync_to_async", counted)
    get = async_to_sync(AsyncClient().get)
    assert get("/api/limited").status_code == 200
    assert threads == []
    wrong = {"authorization": basic("ada", "wrong")}
    assert [get("/api/private", headers=wrong).status_code for _ in range(3)] == [401, 401, 429]
    assert threads == ["check_response", "check_request", "check_response", "check_request"]
    assert get("/api/limited").status_code == 429


@override_settings(CONTRACT_RATE_LIMITS=SMALL, CONTRACT_RATE_LIMIT_MODE="shadow")
def test_shadow_mode_only_logs(caplog: Any) -> None:
    assert [limited().status_code for _ in range(3)] == [200, 200, 200]
    assert "The rate limit small would have refused" in caplog.text


def by_plan(request: Any) -> int | None:
    plan = request.query_params.get("plan")
    return {"free": 1, "paid": 3}.get(plan)


def by_header(request: Any) -> str | None:
    return request.headers.get("X-Device")


def test_limit_and_subject_can_be_functions() -> None:
    policy = Policy("small", limit=by_plan, window=3600, by=by_header)
    with override_settings(CONTRACT_RATE_LIMITS={"small": policy}, CONTRACT_RATE_LIMIT_DEFAULT=[]):
        for plan, expected in (("free", [200, 429]), ("paid", [200] * 3 + [429]), ("none", [200] * 5)):
            path, device = f"/api/limited?plan={plan}", {"x-device": plan}
            assert [limited(path, **device).status_code for _ in expected] == expected
        assert [limited("/api/limited?plan=free").status_code for _ in range(3)] == [200] * 3


def test_organization_shares_one_limit() -> None:
    organization = make_policy("small", {"rate": "1/hour", "by": "organization"})
    with override_settings(CONTRACT_RATE_LIMITS={"small": organization}, CONTRACT_RATE_LIMIT_DEFAULT=[]):
        assert [limited().status_code for _ in range(2)] == [200, 200]
        with context.bind(organization_id=7):
            assert [limited().status_code for _ in range(2)] == [200, 429]


# --- while the store is unavailable -----------------------------------------------------------------------------------


class Down:
    def hit(self, checks: Any, *, charge: bool = True) -> Any:
        raise StoreUnavailable


@pytest.mark.parametrize(
    ("way", "expected"), [("allow", [200, 200, 200]), ("local", [200, 200, 429]), ("deny", [503, 503, 503])]
)
def test_on_error_setting_applies(way: str, expected: list[int], caplog: Any) -> None:
    with override_settings(
        CONTRACT_RATE_LIMITS=SMALL, CONTRACT_RATE_LIMIT_STORE=Down, CONTRACT_RATE_LIMIT_ON_ERROR=way
    ):
        answers = [limited() for _ in range(3)]
    assert [answer.status_code for answer in answers] == expected
    assert caplog.text.count("The store of the rate limits is unavailable") == 1
    if way == "deny":
        assert answers[0].json()["code"] == "unavailable"
        assert answers[0].headers["Retry-After"]


def test_policy_can_override_on_error() -> None:
    ways = {"small": {"rate": "2/hour", "on_error": "deny"}, "anon": "9/hour"}
    with override_settings(CONTRACT_RATE_LIMITS=ways, CONTRACT_RATE_LIMIT_STORE=Down):
        assert limited().status_code == 503


class Flaky:
    """A shared store that can be unavailable, and can be restarted."""

    def __init__(self) -> None:
        self.counts = MemoryStore()
        self.available = True

    def hit(self, checks: Any, *, charge: bool = True) -> Any:
        if not self.available:
            raise StoreUnavailable
        return self.counts.hit(checks, charge=charge)


def fleet(store: Any, processes: int) -> list[Limiter]:
    return [Limiter(store) for _ in range(processes)]


def passes(process: Limiter, limit: int, *, charge: bool = True) -> bool:
    return process.decide([Limited(make_policy("fleet", f"{limit}/day"), limit, "one")], charge=charge).refused is None


@given(
    processes=st.integers(1, 6),
    limit=st.integers(1, 12),
    requests=st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=80),
)
@examples(deadline=None)
def test_processes_without_store_never_allow_twice_the_limit(
    processes: int, limit: int, requests: list[tuple[int, bool]]
) -> None:
    store, allowed = Flaky(), 0
    members = fleet(store, processes)
    with override_settings(DOVETAIL_PROCESSES=processes):
        for member, store.available in requests:
            allowed += passes(members[member % processes], limit)
    assert allowed <= 2 * limit


def test_processes_without_store_share_what_is_left() -> None:
    store = Flaky()
    members = fleet(store, 4)
    with override_settings(DOVETAIL_PROCESSES=4):
        assert [passes(member, 60) for member in members * 5] == [True] * 20
        store.available = False
        # Each knows of 17 to 20 requests, and allows a quarter of the rest.
        assert [sum(passes(member, 60) for _ in range(60)) for member in members] == [10, 10, 10, 10]
        store.available = True
        # The store learns of 57 to 60 requests.
        assert [passes(member, 60) for member in members] == [True] * 3 + [False]


def test_requests_without_store_are_counted_when_it_returns() -> None:
    store = Flaky()
    (one,) = fleet(store, 1)
    store.available = False
    assert [passes(one, 5) for _ in range(3)] == [True] * 3
    assert passes(one, 5, charge=False)
    store.available = True
    assert [passes(one, 5) for _ in range(3)] == [True, True, False]
    (other,) = fleet(store, 1)
    assert not passes(other, 5)


def test_restarted_store_is_told_what_was_counted() -> None:
    store = Flaky()
    members = fleet(store, 2)
    assert [passes(member, 6) for member in members * 3] == [True] * 6
    store.counts.clear()
    # The first process knows of 5 requests, the second of all.
    assert [passes(member, 6) for member in members] == [True, False]
    store.counts.clear()
    assert [passes(member, 6) for member in members] == [False, False]


def test_limit_below_processes_refuses_without_store() -> None:
    store = Flaky()
    store.available = False
    with override_settings(DOVETAIL_PROCESSES=4):
        assert [passes(fleet(store, 1)[0], limit) for limit in (3, 4)] == [False, True]


def test_answers_may_be_read_out_of_order() -> None:
    local = MemoryStore()
    one = check(limit=10, window=10)
    asked_at = clock()
    local.learn([one], [Result(True, 8, 0, 2)], asked_at=asked_at)
    # The answer to an earlier request, which another thread reads later.
    local.learn([one], [Result(True, 9, 0, 1)], asked_at=asked_at)
    assert local.known([one])[0] == pytest.approx(2 * SECOND, abs=SECOND / 2)


def test_lost_count_of_one_policy_charges_no_other_twice(store: Any) -> None:
    """A second call with the lost count charged the policies that were in step again: 95 left, not 96."""
    calls: list[int] = []

    def hit(checks: Any, *, charge: bool = True) -> Any:
        calls.append(len(checks))
        return store.hit(checks, charge=charge)

    process = Limiter(SimpleNamespace(hit=hit))
    name = uuid4().hex
    wide = Limited(make_policy(name, "100/hour"), 100, "wide")
    narrow = Limited(make_policy(name, "3/hour"), 3, "narrow")
    for _ in range(2):
        process.decide([wide, narrow])
    lose(store, narrow)
    third = process.decide([wide, narrow])
    assert [result.remaining for result in third.results] == [97, 0]
    lose(store, narrow)
    assert process.decide([wide, narrow]).refused is not None
    assert process.decide([wide]).results[0].remaining == 96
    assert len(calls) == 5


def lose(store: Any, limited: Limited) -> None:
    key = limited.check().key
    if isinstance(store, MemoryStore):
        del store._full_at[key]
    else:
        import redis

        with redis.Redis.from_url(REDIS) as client:
            assert client.delete(f"{{dovetail.rate}}:{key}") == 1


def test_uncharged_request_is_not_remembered_as_used() -> None:
    store = Flaky()
    (one,) = fleet(store, 1)
    for _ in range(5):
        assert passes(one, 2, charge=False)
    store.available = False
    assert [passes(one, 2) for _ in range(3)] == [True, True, False]


SLOW_WORKER = """
import sys, time
from django.conf import settings
settings.configure(SECRET_KEY="x" * 40, DOVETAIL_PROCESSES=4)
from dovetail_contract.contrib import redis
from dovetail_contract.throttling.limiter import Limited, Limiter
from dovetail_contract.throttling.policies import make_policy
redis.PAUSE = 0.02
limiter = Limiter(redis.RedisStore(sys.argv[1]))
limited = Limited(make_policy(sys.argv[2], "60/hour"), 60, "one")
print("ready", flush=True)
sys.stdin.readline()
allowed = 0
for _ in range(60):
    allowed += limiter.decide([limited]).refused is None
    time.sleep(0.01)
print(allowed)
"""


class SlowRedis(socketserver.StreamRequestHandler):
    """Passes each answer of Redis on after 45 to 65 ms: now within the timeout of 50 ms, now beyond it."""

    def handle(self) -> None:
        url = urlsplit(REDIS)
        delays = itertools.cycle([0.045, 0.055, 0.045, 0.065])
        with socket.create_connection((url.hostname, url.port or 6379)) as target:

            def answer() -> None:
                with contextlib.suppress(OSError):
                    while data := target.recv(65536):
                        time.sleep(next(delays) if data.startswith((b"+0 ", b"+1 ")) else 0)
                        self.request.sendall(data)

            threading.Thread(target=answer, daemon=True).start()
            with contextlib.suppress(OSError):
                while data := self.request.recv(65536):
                    target.sendall(data)


@pytest.mark.skipif(not REDIS, reason="REDIS_URL is not set")
def test_slow_redis_never_allows_twice_the_limit() -> None:
    """When each process counted for itself, 4 processes allowed 240 requests of a limit of 60; now about 65."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), SlowRedis) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = urlsplit(REDIS)._replace(netloc=f"127.0.0.1:{server.server_address[1]}").geturl()
        command = [sys.executable, "-c", SLOW_WORKER, url, uuid4().hex]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        workers = [subprocess.Popen(command, **pipes) for _ in range(4)]
        assert [worker.stdout.readline() for worker in workers] == ["ready\n"] * 4  # type: ignore[union-attr]
        allowed = [int(output) for output, _ in ThreadPoolExecutor(4).map(lambda w: w.communicate("\n"), workers)]
        server.shutdown()
    assert 50 <= sum(allowed) <= 120


@pytest.mark.skipif(find_spec("redis") is None, reason="redis is not installed")
def test_unavailable_redis_delays_one_request(monkeypatch: Any) -> None:
    from dovetail_contract.contrib import redis as contrib

    with override_settings(
        CONTRACT_RATE_LIMITS=SMALL,
        CONTRACT_RATE_LIMIT_STORE="dovetail_contract.contrib.redis.RedisStore",
        CONTRACT_RATE_LIMIT_LOCATION="redis://127.0.0.1:1/0",
    ):
        assert [limited().status_code for _ in range(3)] == [200, 200, 429]
        asked: list[int] = []
        monkeypatch.setattr(contrib.RedisStore, "_answer", lambda *args: asked.append(1))
        assert limited().status_code == 429
        assert asked == []


@pytest.mark.skipif(find_spec("redis") is None, reason="redis is not installed")
def test_unresponsive_redis_delays_one_request() -> None:
    from dovetail_contract.contrib.redis import RedisStore

    asked: list[bytes] = []

    class Silent(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while (line := self.rfile.readline()).startswith(b"*"):
                words = [self.rfile.readline() and self.rfile.readline() for _ in range(int(line[1:]))]
                if not words[0].startswith(b"EVALSHA"):
                    self.wfile.write(b"+OK\r\n")
                    continue
                asked.append(words[0])
                if len(asked) == 1:
                    self.wfile.write(b"+1 9 0 1000000\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Silent) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        store = RedisStore(f"redis://127.0.0.1:{server.server_address[1]}/0", timeout=20)
        assert store.hit([check()])[0].remaining == 9
        store._idle[0]._sock.settimeout(0.01)
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                store.hit([check()])
        server.shutdown()
    assert len(asked) == 2


@pytest.fixture
def named() -> Any:
    """A store, and Redis's ids of its connections."""
    if not REDIS or find_spec("redis") is None:
        pytest.skip("no Redis: REDIS_URL names none")
    import redis

    from dovetail_contract.contrib.redis import RedisStore

    name = f"test-{uuid4().hex}"
    with redis.Redis.from_url(REDIS) as client:

        def ids() -> set[str]:
            return {each["id"] for each in client.client_list() if each["name"] == name}

        yield SimpleNamespace(
            store=RedisStore(f"{REDIS}?client_name={name}", timeout=20), ids=ids, client=client, name=name
        )


class Wire:
    """Wraps a store's socket, and overrides some of its methods."""

    def __init__(self, store: Any, monkeypatch: Any) -> None:
        self.socket = store._idle[0]._sock
        self.recv: Any = self.socket.recv
        self.sendall: Any = self.socket.sendall
        monkeypatch.setattr(store._idle[0], "_sock", self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.socket, name)


def test_reply_may_arrive_in_parts(named: Any, monkeypatch: Any) -> None:
    one = check()
    named.store.hit([one])
    wire = Wire(named.store, monkeypatch)
    wire.recv = lambda size: wire.socket.recv(1)
    assert named.store.hit([one, check(limit=7)])[1].remaining == 6


def test_redis_error_is_an_outage(named: Any) -> None:
    one = check()
    named.client.set(f"{{dovetail.rate}}:{one.key}", "no number", px=60_000)
    named.store.hit([check()])
    with pytest.raises(StoreUnavailable):
        named.store.hit([one])
    assert named.ids() == set()


def test_all_limits_take_one_round_trip(named: Any, monkeypatch: Any) -> None:
    named.store.hit([check()])  # loads the script and opens the connection
    sent: list[bytes] = []
    wire = Wire(named.store, monkeypatch)
    wire.sendall = lambda data: (sent.append(data), wire.socket.sendall(data))
    with override_settings(CONTRACT_RATE_LIMITS=SMALL, CONTRACT_RATE_LIMIT_STORE=lambda: named.store):
        answer = Client().get("/api/limited", REMOTE_ADDR=f"2001:db8::{uuid4().hex[:4]}:1")
    assert answer.headers["RateLimit"].count(";r=") == 2
    assert len(sent) == 1
    assert b"EVALSHA" in sent[0]


def test_script_is_reloaded_after_redis_restart(named: Any) -> None:
    one = check()
    named.store.hit([one])
    named.client.script_flush()
    assert [named.store.hit([one])[0].remaining for _ in range(2)] == [98, 97]
    assert len(named.ids()) == 1


def test_closed_connection_is_reopened(named: Any) -> None:
    one = check()
    for remaining in (99, 98, 97):
        assert named.store.hit([one])[0].remaining == remaining
        (connection,) = named.ids()
        named.client.client_kill_filter(_id=connection)
    assert named.ids() == set()


def test_refused_connection_is_not_retried(named: Any, monkeypatch: Any) -> None:
    import redis

    tried: list[int] = []

    def refuse(connection: Any) -> Any:
        tried.append(1)
        raise redis.ConnectionError

    monkeypatch.setattr(named.store._connection_class, "_connect", refuse)
    with pytest.raises(StoreUnavailable):
        named.store.hit([check()])
    assert tried == [1]


def test_short_lived_threads_share_a_connection(named: Any) -> None:
    one = check()
    threads = set()

    def ask() -> int:
        threads.add(threading.current_thread())
        return int(named.store.hit([one])[0].remaining)

    async def request() -> int:
        # Under ASGI, Django runs the sync parts of each request in a separate thread.
        async with ThreadSensitiveContext():
            return await sync_to_async(ask)()

    assert [asyncio.run(request()) for _ in range(4)] == [99, 98, 97, 96]
    assert len(threads) == 4
    assert len(named.ids()) == 1


def test_surplus_connections_are_closed(named: Any, monkeypatch: Any) -> None:
    from dovetail_contract.contrib import redis as contrib

    monkeypatch.setattr(contrib, "IDLE", 3)
    store = contrib.RedisStore(f"{REDIS}?client_name={named.name}", timeout=20)
    together = threading.Barrier(8)
    original = store._connection

    def taken() -> Any:
        found = original()
        together.wait()
        return found

    monkeypatch.setattr(store, "_connection", taken)
    at_once(8, lambda: store.hit([check()]))
    assert len(store._idle) == 3
    deadline = time.monotonic() + 20  # Redis closes it after a moment
    while len(named.ids()) > 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(named.ids()) == 3


def test_unread_reply_is_not_read_by_the_next_request(named: Any, monkeypatch: Any) -> None:
    named.store.hit([check()])
    wire = Wire(named.store, monkeypatch)

    def interrupt(size: int) -> bytes:
        raise KeyboardInterrupt

    wire.recv = interrupt
    with pytest.raises(KeyboardInterrupt):
        named.store.hit([check(limit=70)])
    wire.recv = wire.socket.recv
    assert named.store.hit([check(limit=5)])[0].remaining == 4


FORKED = """
import os, sys
from django.conf import settings
settings.configure(SECRET_KEY="x" * 40)
from dovetail_contract.contrib.redis import RedisStore
from dovetail_contract.throttling.stores import Check
store = RedisStore(sys.argv[1], timeout=20)
own = Check(sys.argv[2], 100, 3600, 100)
assert store.hit([own])[0].remaining == 99
inherited = store._idle[0]
socket = inherited._sock
if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0
    assert store._idle[0]._sock is socket
    print(store.hit([own])[0].remaining)
else:
    other = Check(sys.argv[2] + "-child", 50, 3600, 50)
    assert store.hit([other])[0].remaining == 49
    assert store._idle[0]._sock is not socket
"""


def test_forked_process_does_not_share_connections(named: Any) -> None:
    command = [sys.executable, "-W", "error", "-c", FORKED, REDIS, uuid4().hex]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "98\n"


def test_redis_keys_are_hashed_and_expire(named: Any) -> None:
    one = Limited(make_policy(uuid4().hex, "2/min"), 2, "address:203.0.113.7/32").check()
    named.store.hit([one])
    assert "203.0.113" not in one.key
    assert 0 < named.client.pttl(f"{{dovetail.rate}}:{one.key}") <= 31_000


def test_secret_changes_the_key() -> None:
    one = Limited(make_policy("small", "2/min"), 2, "address:203.0.113.7/32")
    first = one.check().key
    with override_settings(SECRET_KEY="another secret, of another deployment"):
        assert one.check().key != first
    assert one.check().key == first


# --- settings --------------------------------------------------------------------------------------------------------


def test_rates_have_rest_framework_notation() -> None:
    assert [parse_rate(rate) for rate in ("5/s", "60/min", "7/hour", "9/d", "10/minute")] == [
        (5, 1),
        (60, 60),
        (7, 3600),
        (9, 86400),
        (10, 60),
    ]
    for wrong in ("", "5", "0/min", "x/min", "5/week", "-1/s", "5 /s"):
        with pytest.raises(ValueError, match="is not a rate"):
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
def test_invalid_rate_fails_the_check(declared: Any, settings: Any) -> None:
    throttle = "dovetail_contract.throttling.RateLimitThrottle"
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_CLASSES": [throttle]}
    settings.CONTRACT_RATE_LIMITS = {"small": declared}
    assert [found.id for found in check_rates(None)] == ["dovetail_contract.E002"]


def test_rates_are_checked_for_throttles_of_views(settings: Any) -> None:
    settings.CONTRACT_RATE_LIMITS = {"small": "5"}
    assert [message.id for message in check_rates(None)] == ["dovetail_contract.E002"]
    settings.ROOT_URLCONF = "tests.contract.urls_without_handlers"
    assert list(check_rates(None)) == []


def test_checks_pass_over_classes_that_are_properties(monkeypatch: Any, settings: Any) -> None:
    settings.ROOT_URLCONF, settings.CONTRACT_RATE_LIMITS = f"{__name__}", {"small": "5"}
    monkeypatch.setattr(f"{__name__}.urlpatterns", [route("", Properties.as_view())], raising=False)
    assert list(check_rates(None)) == []
    assert list(check_views(None)) == []
    response = CacheControlMiddleware(lambda request: HttpResponse())
    assert response.process_view(HttpRequest(), Properties.as_view(), (), {}) is None


class Properties(APIView):
    """A view whose classes depend on the request."""

    contract = {"filter": {"title": ["eq"]}}
    authentication_classes = filter_backends = throttle_classes = queryset = property(lambda view: [])


def test_rates_are_checked_without_reading_routes(monkeypatch: Any, settings: Any) -> None:
    monkeypatch.setattr("dovetail_contract.checks.routes", None)
    settings.CONTRACT_RATE_LIMITS = SMALL
    assert list(check_rates(None)) == []


def test_policy_is_cached_until_it_changes() -> None:
    declared: dict[str, Any] = {"small": {"rate": "5/min", "burst": 2}}
    first = policies.find_policy("small", declared, {})
    assert first is policies.find_policy("small", declared, {})
    declared["small"]["burst"] = 3
    assert [first, policies.find_policy("small", declared, {})] == [
        Policy("small", 5, 60, burst=2),
        Policy("small", 5, 60, burst=3),
    ]
    declared["small"]["by"] = NoHash()
    assert policies.find_policy("small", declared, {}) == Policy("small", 5, 60, burst=3, by=NoHash())


@dataclass
class NoHash:
    def __call__(self, request: Any) -> str:
        return "everyone"


def test_memory_store_warns_on_deployment(settings: Any) -> None:
    assert [message.id for message in check_store(None)] == ["dovetail_contract.W002"]
    settings.ROOT_URLCONF = "tests.contract.urls_without_handlers"
    assert list(check_store(None)) == []
    throttle = "dovetail_contract.throttling.RateLimitThrottle"
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_CLASSES": [throttle]}
    assert [found.id for found in check_store(None)] == ["dovetail_contract.W002"]


def test_shares_of_limits_are_checked_on_deployment(settings: Any) -> None:
    throttle = "dovetail_contract.throttling.RateLimitThrottle"
    rates = {"anon": "60/min", "few": "3/min", "none": None, "broken": "1"}
    limits = {
        "denied": {"rate": "2/min", "on_error": "deny"},
        "burst": {"rate": "60/min", "burst": 2},
        "plan": Policy("plan", by_plan, 60),
    }
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": rates}
    settings.CONTRACT_RATE_LIMITS = limits
    settings.CONTRACT_RATE_LIMIT_STORE = Down
    settings.MIDDLEWARE, settings.ROOT_URLCONF = [], "tests.contract.urls_without_handlers"
    assert list(check_shares(None)) == []
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_CLASSES": [throttle]}
    (unknown,) = check_shares(None)
    assert unknown.id == "dovetail_contract.W005"
    assert "every process allows the full limit, because DOVETAIL_PROCESSES is not set." in unknown.msg
    settings.DOVETAIL_PROCESSES = 4
    few, burst = check_shares(None)
    assert (few.id, burst.id) == ("dovetail_contract.W006", "dovetail_contract.W006")
    assert "all requests that 'few' limits are refused: its limit of 3 is smaller than" in few.msg
    assert "'burst' limits are refused: its limit of 2" in burst.msg
    settings.CONTRACT_RATE_LIMIT_ON_ERROR = "allow"
    assert list(check_shares(None)) == []
    settings.CONTRACT_RATE_LIMIT_STORE = MemoryStore
    settings.CONTRACT_RATE_LIMIT_ON_ERROR = "local"
    assert list(check_shares(None)) == []


@pytest.mark.parametrize(
    ("middleware", "urls", "ids", "refused"),
    [
        ("RateLimitMiddleware", "urls_without_handlers", ["W005"], ["failures"]),
        ("UTCMiddleware", "urls", ["W005"], ["small"]),
        ("RateLimitMiddleware", "urls", ["W005"], ["small", "failures"]),
        ("UTCMiddleware", "urls_without_handlers", [], []),
    ],
)
def test_shares_are_checked_for_middleware_and_views(
    settings: Any, middleware: str, urls: str, ids: list[str], refused: list[str]
) -> None:
    settings.MIDDLEWARE = [f"dovetail_contract.middleware.{middleware}"]
    settings.ROOT_URLCONF = f"tests.contract.{urls}"
    # No request of this policy is ever allowed, with any number of processes.
    settings.CONTRACT_RATE_LIMITS = {"small": {"rate": "9/min", "burst": 2, "cost": 3}}
    settings.CONTRACT_RATE_LIMIT_FAILURES = "3/min"
    settings.CONTRACT_RATE_LIMIT_STORE = Down
    assert [message.id for message in check_shares(None)] == [f"dovetail_contract.{name}" for name in ids]
    settings.DOVETAIL_PROCESSES = 4
    messages = list(check_shares(None))
    assert {message.id for message in messages} <= {"dovetail_contract.W006"}
    assert [message.msg.split("'")[1] for message in messages] == refused


def test_limiter_follows_settings() -> None:
    assert isinstance(limiter(), Limiter)
    assert conf.RATE_LIMIT_STORE is MemoryStore
    with override_settings(CONTRACT_RATE_LIMIT_STORE=Down):
        assert isinstance(limiter().store, Down)
    assert isinstance(limiter().store, MemoryStore)
