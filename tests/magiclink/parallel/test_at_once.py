"""Parallel requests in real threads, each with its own connection."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.db import connection
from rest_framework.test import APIClient

from dovetail_magiclink import get_magic_link_model
from dovetail_magiclink.testing import WITHOUT_LIMITS, mailed_code, mailed_key
from tests.magiclink.conftest import wrong
from tests.parallel import at_once, rounds

pytestmark = pytest.mark.django_db(transaction=True)
MagicLink = get_magic_link_model()
# A client in Python makes 50 connections to MariaDB in a second of CPU.
PARALLEL, ROUNDS = (32, 4) if connection.vendor == "mysql" else (50, 20)
REQUEST, VERIFY = "/api/auth/magic/request/", "/api/auth/magic/verify/"


@pytest.fixture(autouse=True)
def _user(settings: Any) -> None:
    get_user_model().objects.create_user("ada", email="ada@example.com")
    # The rounds need many requests. Other tests cover the limits.
    for name, value in WITHOUT_LIMITS.items():
        setattr(settings, name, value)


def ask(email: str = "ada@example.com") -> str:
    answer = APIClient().post(REQUEST, {"email": email})
    assert answer.status_code == 202, answer.content
    return str(answer.json()["request_id"])


def verify(**body: str) -> Any:
    return APIClient().post(VERIFY, body)


def statuses(answers: list[Any]) -> Counter[Any]:
    return Counter(getattr(answer, "status_code", answer) for answer in answers)


def test_parallel_verifications_succeed_exactly_once() -> None:
    for number in range(rounds(ROUNDS)):
        request_id = ask()
        ways = [{"token": mailed_code()}, {"k": mailed_key()}, {"token": mailed_code(), "request_id": request_id}]
        # One kind of proof in most rounds. If they are mixed, the last may fail because of the five attempts.
        bodies = [ways[0 if number % 2 else index % 2] for index in range(PARALLEL - 1)] + [ways[2]]
        answers = at_once(*(partial(verify, **body) for body in bodies))
        assert statuses(answers) == {200: 1, 400: PARALLEL - 1}, answers
        assert MagicLink.objects.exclude(used_at=None).count() == number + 1


def test_parallel_guesses_stop_at_five() -> None:
    for _ in range(rounds(ROUNDS)):
        request_id = ask()
        code = mailed_code()
        answers = at_once(*[partial(verify, token=wrong(code), request_id=request_id)] * PARALLEL)
        assert statuses(answers) == {400: PARALLEL}, answers
        assert MagicLink.objects.get(pk=request_id).attempts == 5
        # The guesses count although the response is an error: the right code is locked, but the link is not.
        for locked in ({"request_id": request_id}, {"email": "ada@example.com"}, {}):
            assert verify(token=code, **locked).status_code == 400
        assert verify(k=mailed_key()).status_code == 200


def test_parallel_right_code_succeeds_only_within_five() -> None:
    for _ in range(rounds(ROUNDS)):
        request_id = ask()
        code = mailed_code()
        tokens = [f"{(int(code) + distance) % 10**8:08}" for distance in range(8)]
        answers = at_once(*(partial(verify, token=token, request_id=request_id) for token in tokens))
        link = MagicLink.objects.get(pk=request_id)
        assert statuses(answers)[200] == (link.used_at is not None)
        assert link.attempts <= 5


def test_parallel_guesses_respect_network_limit(settings: Any) -> None:
    settings.MAGIC_LINK_FAILURES_PER_NETWORK = ((10, 86400),)
    ask()
    compared: list[Any] = []
    consume = "dovetail_magiclink.services.verification._consume"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(consume, lambda *arguments: compared.append(arguments))
        at_once(*[partial(verify, token="12345678")] * PARALLEL)
    assert len(compared) == 10
    assert verify(token=mailed_code()).status_code == 400
    cache.clear()
    assert verify(token=mailed_code()).status_code == 200


def test_parallel_guesses_respect_risk_budget(settings: Any) -> None:
    settings.MAGIC_LINK_RISK_BUDGET = ((6e-7, 86400),)  # 60 guesses at one code, 30 at two live codes
    ask()
    compared: list[Any] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            "dovetail_magiclink.services.verification._consume", lambda *arguments: compared.append(arguments)
        )
        at_once(*[partial(verify, token="12345678")] * PARALLEL)
    assert len(compared) == 30


def test_parallel_requests_send_one_mail(settings: Any) -> None:
    settings.MAGIC_LINK_REQUESTS_PER_ADDRESS = ((1, 60),)
    for number in range(rounds(ROUNDS)):
        email = f"user{number}@example.com"
        answers = at_once(*[partial(APIClient().post, REQUEST, {"email": email})] * 12)
        assert statuses(answers) == {202: 1, 429: 11}, answers
        assert MagicLink.objects.filter(email=email, pending_key__isnull=False).count() == 1
