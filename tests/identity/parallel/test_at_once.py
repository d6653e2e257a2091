"""Concurrent requests in threads with separate connections."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import RefreshToken

from dovetail_identity import services
from dovetail_identity.models import Session
from tests.identity.factories import make_user
from tests.parallel import at_once, rounds

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 50
PARALLEL = 8
REFRESH = "/api/auth/jwt/refresh/"


def test_parallel_refreshes_return_the_same_token() -> None:
    user = make_user()
    token = services.issue_tokens(user, request=None)["refresh"]
    first = token
    repeated = rounds(ROUNDS)
    for number in range(repeated):
        answers = at_once(*[partial(APIClient().post, REFRESH, {"refresh": token})] * PARALLEL)
        assert [answer.status_code for answer in answers] == [200] * PARALLEL, answers
        successors = {answer.json()["refresh"] for answer in answers}
        assert len(successors) == 1
        token = successors.pop()
        assert RefreshToken(token)["gen"] == number + 2
    session = Session.objects.get()
    assert (session.generation, session.revoked_at) == (repeated, None)
    assert APIClient().post(REFRESH, {"refresh": first}).status_code == 401


def test_parallel_use_of_a_superseded_token_ends_the_session_once() -> None:
    first = services.issue_tokens(make_user(), request=None)["refresh"]
    second = APIClient().post(REFRESH, {"refresh": first}).json()["refresh"]
    assert APIClient().post(REFRESH, {"refresh": second}).status_code == 200
    session = Session.objects.get()
    Session.objects.update(rotated_at=session.rotated_at - timedelta(minutes=1))
    answers = at_once(*[lambda: APIClient().post(REFRESH, {"refresh": first})] * PARALLEL)
    assert [answer.status_code for answer in answers] == [401] * PARALLEL, answers
    session.refresh_from_db()
    # The session is revoked despite the error, also with ATOMIC_REQUESTS.
    assert session.revoked_reason == "reused"
    assert APIClient().post(REFRESH, {"refresh": second}).status_code == 401
