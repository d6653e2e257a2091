"""Concurrent requests in threads with separate connections."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, connections
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import RefreshToken

from dovetail_identity import services
from dovetail_identity.models import Session
from tests.identity.factories import make_user

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 10 if settings.DATABASES["default"]["ATOMIC_REQUESTS"] else 50
PARALLEL = 8
REFRESH = "/api/auth/jwt/refresh/"


def at_once(call: Callable[[], Any]) -> list[Any]:
    barrier = threading.Barrier(PARALLEL)
    outcomes: list[Any] = []

    def run() -> None:
        try:
            # The connection is opened first, so that the calls run at the same time.
            connection.ensure_connection()
            barrier.wait(timeout=30)
            outcomes.append(call())
        except Exception as error:  # noqa: BLE001  # the test asserts on it
            outcomes.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(PARALLEL)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return outcomes


def test_parallel_refreshes_return_the_same_token() -> None:
    user = make_user()
    token = services.issue_tokens(user, request=None)["refresh"]
    first = token
    for number in range(ROUNDS):
        answers = at_once(partial(APIClient().post, REFRESH, {"refresh": token}))
        assert [answer.status_code for answer in answers] == [200] * PARALLEL, answers
        successors = {answer.json()["refresh"] for answer in answers}
        assert len(successors) == 1
        token = successors.pop()
        assert RefreshToken(token)["gen"] == number + 2
    session = Session.objects.get()
    assert (session.generation, session.revoked_at) == (ROUNDS, None)
    assert APIClient().post(REFRESH, {"refresh": first}).status_code == 401


def test_parallel_use_of_a_superseded_token_ends_the_session_once() -> None:
    first = services.issue_tokens(make_user(), request=None)["refresh"]
    second = APIClient().post(REFRESH, {"refresh": first}).json()["refresh"]
    assert APIClient().post(REFRESH, {"refresh": second}).status_code == 200
    session = Session.objects.get()
    Session.objects.update(rotated_at=session.rotated_at - timedelta(minutes=1))
    answers = at_once(lambda: APIClient().post(REFRESH, {"refresh": first}))
    assert [answer.status_code for answer in answers] == [401] * PARALLEL, answers
    session.refresh_from_db()
    # The session is revoked despite the error, also with ATOMIC_REQUESTS.
    assert session.revoked_reason == "reused"
    assert APIClient().post(REFRESH, {"refresh": second}).status_code == 401
