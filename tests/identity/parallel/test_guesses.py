"""Guesses in parallel get no more evaluations than the limit, at every place that takes a password or a token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from unittest.mock import patch

import pytest
from django.conf import settings as project
from django.contrib.auth import authenticate
from django.core.cache import caches
from django.db import connection, connections
from django.test import Client
from rest_framework.test import APIClient

from dovetail_identity.registration import passwords, sign_up
from tests.identity.factories import PASSWORD, make_user
from tests.identity.hashers import CountingHasher

pytestmark = pytest.mark.django_db(transaction=True)
GUESSES, LIMIT = 30, 5
# PostgreSQL has 100 connections by default, and each guess needs one for the lookup.
THREADS = 15
AUTH = "/api/auth"


def assert_evaluated(cache: str) -> None:
    """Assert that some guesses were evaluated, and no more than the limit."""
    assert CountingHasher.calls <= LIMIT
    # Of two transactions on SQLite that have read, only one can write. A guess that is not counted is refused, which
    # may happen to all of them if the cache is in the same database.
    if (cache, connection.vendor) != ("database", "sqlite"):
        assert CountingHasher.calls > 0


@pytest.fixture(params=[alias for alias in ("default", "database", "redis") if alias in project.CACHES])
def cache(request: pytest.FixtureRequest, settings: Any) -> Iterator[str]:
    settings.IDENTITY_CACHE = request.param
    # A period that does not end during the test.
    settings.IDENTITY_FAILURES_PER_ACCOUNT = settings.IDENTITY_FAILURES_PER_NETWORK = ((LIMIT, 10**9),)
    caches[request.param].clear()
    yield request.param
    caches[request.param].clear()


def statuses(guess: Callable[[int], Any], threads: int = THREADS) -> list[int]:
    barrier = Barrier(threads)

    def run(number: int) -> int:
        try:
            if number < threads:
                barrier.wait(timeout=30)
            return int(guess(number).status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(GUESSES)))


@pytest.mark.parametrize("known", [True, False])
def test_tokens_are_limited(cache: str, known: bool) -> None:
    email = make_user().email if known else "nobody@example.com"
    CountingHasher.calls = 0
    body = {"email": email, "password": "wrong"}
    answers = statuses(lambda number: APIClient().post(f"{AUTH}/jwt/token/", body))
    assert (answers.count(401), answers.count(429)) == (CountingHasher.calls, GUESSES - CountingHasher.calls)
    assert_evaluated(cache)
    if connection.vendor != "sqlite":
        assert CountingHasher.calls == LIMIT


def test_admin_sign_ins_are_limited(cache: str) -> None:
    user = make_user(is_staff=True)
    CountingHasher.calls = 0
    body = {"username": user.email, "password": "wrong"}
    answers = statuses(lambda number: Client().post("/admin/login/", body))
    assert (answers.count(200), answers.count(429)) == (CountingHasher.calls, GUESSES - CountingHasher.calls)
    assert_evaluated(cache)


@pytest.mark.parametrize("cache", ["default"], indirect=True)
@pytest.mark.usefixtures("cache")
def test_other_places_are_limited() -> None:
    user = make_user(is_staff=True)
    signed_in = [Client() for _ in range(GUESSES)]
    signed_in[0].force_login(user)
    for client in signed_in:
        client.cookies = signed_in[0].cookies
    changes = {"current_password": "wrong", "new_password": PASSWORD}
    fields = {"old_password": "wrong", "new_password1": PASSWORD, "new_password2": PASSWORD}
    token = {"token": "wrong", "password": PASSWORD}
    places: list[tuple[Callable[[int], Any], int, Any, str]] = [
        (
            lambda number: signed_in[number].post(f"{AUTH}/password/change/", changes, "application/json"),
            400,
            type(user),
            "check_password",
        ),
        (lambda number: signed_in[number].post("/admin/password_change/", fields), 200, type(user), "check_password"),
        (
            lambda number: APIClient(REMOTE_ADDR="203.0.113.7").post(f"{AUTH}/password/reset/confirm/", token),
            400,
            passwords,
            "user_of_reset_token",
        ),
        (
            lambda number: APIClient(REMOTE_ADDR="203.0.113.7").post(f"{AUTH}/email/verify/", {"token": "wrong"}),
            400,
            sign_up,
            "registration_of_token",
        ),
    ]
    for guess, rejected, owner, name in places:
        caches["default"].clear()
        _forget()
        with patch.object(owner, name, autospec=True, side_effect=getattr(owner, name)) as evaluation:
            answers = statuses(guess, THREADS)
        assert (answers.count(rejected), answers.count(429)) == (LIMIT, GUESSES - LIMIT), (name, answers)
        assert evaluation.call_count == LIMIT, name


def _forget() -> None:
    from dovetail_core import attempts

    attempts.reset()


def test_calls_without_a_request_are_limited(cache: str) -> None:
    user = make_user()
    CountingHasher.calls = 0

    def guess(number: int) -> Any:
        assert authenticate(email=user.email, password="wrong") is None
        return APIClient().options("/")

    statuses(guess, THREADS)
    assert_evaluated(cache)


@pytest.mark.usefixtures("cache")
def test_right_password_among_guesses_is_evaluated_within_the_limit() -> None:
    """A limit that counts failures afterwards answers 200 to the right guess, whatever its place in the burst."""
    user = make_user()
    bodies = [{"email": user.email, "password": "wrong"} for _ in range(GUESSES)]
    for number in range(LIMIT):
        assert APIClient().post(f"{AUTH}/jwt/token/", bodies[number]).status_code == 401
    bodies[GUESSES // 2]["password"] = PASSWORD
    CountingHasher.calls = 0
    answers = statuses(lambda number: APIClient().post(f"{AUTH}/jwt/token/", bodies[number]))
    assert (set(answers), CountingHasher.calls) == ({429}, 0)
