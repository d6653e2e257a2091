"""Signing in: by code, by link, by code with its request or address; and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.utils import timezone
from rest_framework.test import APIClient

from dovetail_core.events import Event
from dovetail_magiclink import get_magic_link_model, services
from dovetail_magiclink.testing import mailed_code, mailed_key
from tests.magiclink.conftest import wrong

pytestmark = pytest.mark.django_db
INVALID = {"error": "invalid_or_expired"}
Ask = Callable[..., str]
Post = Callable[..., Any]
MagicLink = get_magic_link_model()


def refused(answer: Any) -> bool:
    return (answer.status_code, answer.json()) == (400, INVALID)


def test_a_code_alone_signs_in(post: Post, ask: Ask, user: Any, events: list[Event]) -> None:
    request_id = ask()
    answer = post("verify", token=mailed_code())
    assert answer.status_code == 200, answer.content
    assert answer.json()["user"] == {
        "id": user.pk,
        "email": "Ada@example.com",
        "first_name": "Ada",
        "last_name": "",
    }
    assert answer.headers["Cache-Control"] == "no-store"
    assert [event.name for event in events] == ["magic_link.requested", "magic_link.verified"]
    assert events[-1].target == events[-1].actor == user
    assert events[-1].data == {
        "request_id": request_id,
        "by": "code",
        "network": "127.0.0.1/32",
        "created": False,
    }


@pytest.mark.parametrize(
    ("body", "by"),
    [
        (lambda request_id: {"token": mailed_code(), "k": mailed_key()}, "link"),
        (lambda request_id: {"token": "anything", "k": mailed_key()}, "link"),
        (lambda request_id: {"token": mailed_key()}, "link"),
        (lambda request_id: {"k": mailed_key()}, "link"),
        (lambda request_id: {"token": mailed_code(), "request_id": request_id}, "bound_code"),
        (lambda request_id: {"token": mailed_code(), "email": " ADA@example.com"}, "bound_code"),
        (
            lambda request_id: {"token": mailed_code(), "email": "ada@example.com", "request_id": request_id},
            "bound_code",
        ),
        (lambda request_id: {"token": f"{mailed_code()[:4]} {mailed_code()[4:]}"}, "code"),
        (lambda request_id: {"token": f" {mailed_code()[:4]}-{mailed_code()[4:]}"}, "code"),
        (lambda request_id: {"token": mailed_code(), "k": None, "request_id": "", "email": ""}, "code"),
    ],
)
def test_each_way_signs_in_once(
    post: Post, ask: Ask, user: Any, events: list[Event], body: Callable[[str], Any], by: str
) -> None:
    given = body(ask())
    assert post("verify", given).status_code == 200
    assert events[-1].data["by"] == by
    for again in (given, {"token": mailed_code()}, {"k": mailed_key()}):
        assert refused(post("verify", again))


def test_wrong_used_superseded_and_expired_are_one_answer(post: Post, ask: Ask, user: Any) -> None:
    first = ask()
    old, old_key = mailed_code(), mailed_key()
    second = ask()
    code = mailed_code()
    ended = MagicLink.objects.get(pk=first)
    assert (ended.pending_key, ended.code_hash, ended.key_hash) == (None, None, None)
    for body in (
        {"token": wrong(code)},
        {"token": wrong(code), "request_id": second},
        {"token": code, "request_id": first},
        {"token": code, "email": "other@example.com"},
        {"token": code, "request_id": second, "email": "other@example.com"},
        {"token": old},
        {"token": old, "request_id": first},
        {"k": old_key},
    ):
        assert refused(post("verify", body)), body
    MagicLink.objects.update(expires_at=timezone.now())
    assert refused(post("verify", token=code))
    assert refused(post("verify", k=mailed_key()))


def test_the_term_ends_at_its_very_moment(post: Post, ask: Ask, user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ask()
    ends = MagicLink.objects.get().expires_at
    monkeypatch.setattr("django.utils.timezone.now", lambda: ends)
    assert refused(post("verify", token=mailed_code()))
    monkeypatch.setattr("django.utils.timezone.now", lambda: ends - timedelta(microseconds=1))
    assert post("verify", token=mailed_code()).status_code == 200


@pytest.mark.parametrize(
    "token",
    [
        "",
        " ",
        "1234567",
        "123456789",
        "１２３４５６７８",  # full-width digits are what this is about
        "1234567a",
        "12345678\x00",
        "\ud83d",
        "٠١٢٣٤٥٦٧",
        "9" * 100_000,
        "A" * 43,
        "A" * 44,
    ],
)
@pytest.mark.parametrize("beside", [{}, {"request_id": "x\x00"}, {"email": "\ud83d"}, {"k": "\x00"}, {"k": "9" * 9999}])
def test_what_cannot_be_a_code_is_wrong(post: Post, ask: Ask, user: Any, token: str, beside: dict[str, str]) -> None:
    ask()
    content = {"token": token, **beside}
    # The test client cannot send half of a pair of surrogates; JSON can.
    import json

    answer = APIClient().generic("POST", "/api/auth/magic/verify/", json.dumps(content), "application/json")
    assert refused(answer), answer.content


@pytest.mark.parametrize(
    "body", [{}, [], "x", None, 7, {"token": None}, {"token": []}, {"token": ["12345678"]}, {"token": {}}]
)
def test_a_body_of_another_shape_is_400(post: Post, ask: Ask, user: Any, body: Any) -> None:
    answer = APIClient().post("/api/auth/magic/verify/", body, format="json")
    assert answer.status_code == 400
    assert answer.json() != INVALID


@pytest.mark.parametrize("value", [int, float, lambda code: True, lambda code: [code], lambda code: None])
@pytest.mark.parametrize("field", ["token", "k", "request_id", "email"])
def test_what_is_no_text_is_refused_and_its_field_named(
    post: Post, ask: Ask, user: Any, field: str, value: Callable[[str], Any]
) -> None:
    ask()
    content = value(mailed_code())
    if content is None and field != "token":
        return  # left out
    answer = post("verify", {"token": mailed_code(), field: content})
    assert (answer.status_code, set(answer.json())) == (400, {field})
    link = MagicLink.objects.get()
    assert (link.used_at, link.attempts) == (None, 0)
    assert post("verify", token=mailed_code()).status_code == 200


def test_a_list_of_codes_is_no_guess(post: Post, ask: Ask, user: Any) -> None:
    ask()
    codes = [f"{number:08}" for number in range(10)] + [mailed_code()]
    assert post("verify", {"token": codes}).status_code == 400
    assert post("verify", [{"token": code} for code in codes]).status_code == 400
    assert MagicLink.objects.get().used_at is None


def test_a_get_consumes_nothing(client: APIClient, post: Post, ask: Ask, user: Any) -> None:
    ask()
    path = "/api/auth/magic/verify/"
    query = {"token": mailed_code(), "k": mailed_key()}
    for method in (client.get, client.head):
        assert method(path, query).status_code == 405
    client.options(path, query)
    assert post("verify", token=mailed_code()).status_code == 200


def test_an_inactive_user_is_refused(post: Post, ask: Ask, user: Any) -> None:
    ask()
    get_user_model().objects.update(is_active=False)
    assert refused(post("verify", token=mailed_code()))


def test_addresses_that_several_accounts_have_are_unknown(
    post: Post, ask: Ask, user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ask()
    get_user_model().objects.create_user("ada2", email="ADA@example.com")
    assert refused(post("verify", token=mailed_code()))
    ask()
    assert len(mail.outbox) == 1
    assert "several rows of auth.User" in caplog.text
    assert "example.com" not in caplog.text


def test_of_several_accounts_an_active_one_alone_is_meant(post: Post, ask: Ask, user: Any) -> None:
    get_user_model().objects.create_user("ada2", email="ADA@example.com", is_active=False)
    ask()
    answer = post("verify", token=mailed_code())
    assert answer.json()["user"]["id"] == user.pk


def test_the_times_of_sign_in_are_kept(post: Post, ask: Ask, user: Any) -> None:
    assert services.last_magic_sign_in(user) is None
    times = []
    for _ in range(2):
        ask()
        before = timezone.now()
        assert post("verify", token=mailed_code()).status_code == 200
        user.refresh_from_db()
        last = services.last_magic_sign_in(user)
        assert last is not None
        assert before <= last <= timezone.now()
        assert before <= user.last_login <= timezone.now()
        times.append(last)
    assert times[0] < times[1]


def test_verify_returns_the_user_and_signs_nobody_in(ask: Ask, user: Any, rf: Any) -> None:
    request = rf.post("/")
    ask()
    assert services.verify(token=wrong(mailed_code()), request=request) is None
    assert services.verify(token=mailed_code(), request=request) == user
    assert services.verify(token=mailed_code(), request=request) is None
    assert not hasattr(request, "session")
    request_id = ask()
    assert services.verify(token=mailed_code(), request_id=request_id, request=None) == user
    ask()
    assert services.verify(token="", key=mailed_key(), request=None) == user


def test_without_sign_up_there_is_no_account_for_an_unknown_address(post: Post, ask: Ask) -> None:
    ask("new@example.com")
    assert mail.outbox == []
    assert not get_user_model().objects.exists()


def test_signing_up_makes_the_account_by_its_proof(post: Post, ask: Ask, settings: Any, events: list[Event]) -> None:
    settings.MAGIC_LINK_SIGNUP = True
    ask("New@Example.com")
    assert not get_user_model().objects.exists()
    (message,) = mail.outbox
    assert message.to == ["new@example.com"]
    answer = post("verify", token=mailed_code())
    assert answer.status_code == 200
    created = get_user_model().objects.get()
    assert (created.email, created.username, created.has_usable_password()) == ("new@example.com",) * 2 + (False,)
    assert events[-1].data["created"] is True
    ask("new@example.com")
    assert post("verify", token=mailed_code()).json()["user"]["id"] == created.pk
    assert events[-1].data["created"] is False


def test_signing_up_takes_no_address_that_somebody_has(post: Post, ask: Ask, user: Any, settings: Any) -> None:
    settings.MAGIC_LINK_SIGNUP = True
    user.is_active = False
    user.save()
    ask()
    assert mail.outbox == []
    ask("new@example.com")
    get_user_model().objects.create_user("new", email="new@example.com", is_active=False)
    assert refused(post("verify", token=mailed_code()))
    assert get_user_model().objects.count() == 2


def test_signing_up_by_a_name_that_is_taken_is_refused(post: Post, ask: Ask, settings: Any) -> None:
    settings.MAGIC_LINK_SIGNUP = True
    ask("new@example.com")
    get_user_model().objects.create_user("new@example.com")
    assert refused(post("verify", token=mailed_code()))


def _create(*, email: str, request: Any) -> Any:
    return get_user_model().objects.create_user(f"of-{email}", email=email, first_name=request.path)


def test_a_project_makes_accounts_its_own_way(post: Post, ask: Ask, settings: Any) -> None:
    settings.MAGIC_LINK_SIGNUP = True
    settings.MAGIC_LINK_CREATE_USER = _create
    ask("new@example.com")
    assert post("verify", token=mailed_code()).json()["user"]["first_name"] == "/api/auth/magic/verify/"


def test_the_views_stand_outside_of_the_requests_transaction_on_every_database(settings: Any) -> None:
    from django.core.handlers.base import BaseHandler
    from django.db import connections
    from django.urls import resolve

    for path in ("request", "verify"):
        view = resolve(f"/api/auth/magic/{path}/").func
        with pytest.MonkeyPatch.context() as patched:
            for alias in connections:
                patched.setitem(connections.settings[alias], "ATOMIC_REQUESTS", True)
            # Django wraps a view that it runs in a transaction.
            assert BaseHandler().make_view_atomic(view) is view
