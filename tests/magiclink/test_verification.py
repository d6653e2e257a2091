"""Sign-in by code, by link, and by code with request id or address; and rejected proofs."""

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


def test_unbound_code_signs_in(post: Post, ask: Ask, user: Any, events: list[Event]) -> None:
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
def test_every_proof_signs_in_once(
    post: Post, ask: Ask, user: Any, events: list[Event], body: Callable[[str], Any], by: str
) -> None:
    proof = body(ask())
    assert post("verify", proof).status_code == 200
    assert events[-1].data["by"] == by
    for again in (proof, {"token": mailed_code()}, {"k": mailed_key()}):
        assert refused(post("verify", again))


def test_invalid_proofs_get_the_same_response(post: Post, ask: Ask, user: Any) -> None:
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


def test_code_expires_exactly_at_expires_at(post: Post, ask: Ask, user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
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
        "１２３４５６７８",  # full-width digits on purpose
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
def test_malformed_code_is_invalid(post: Post, ask: Ask, user: Any, token: str, beside: dict[str, str]) -> None:
    ask()
    content = {"token": token, **beside}
    # The test client cannot send a lone surrogate, but JSON can.
    import json

    answer = APIClient().generic("POST", "/api/auth/magic/verify/", json.dumps(content), "application/json")
    assert refused(answer), answer.content


@pytest.mark.parametrize(
    "body", [{}, [], "x", None, 7, {"token": None}, {"token": []}, {"token": ["12345678"]}, {"token": {}}]
)
def test_malformed_verify_body_is_400(post: Post, ask: Ask, user: Any, body: Any) -> None:
    answer = APIClient().post("/api/auth/magic/verify/", body, format="json")
    assert answer.status_code == 400
    assert answer.json() != INVALID


@pytest.mark.parametrize("value", [int, float, lambda code: True, lambda code: [code], lambda code: None])
@pytest.mark.parametrize("field", ["token", "k", "request_id", "email"])
def test_non_string_value_is_400_naming_field(
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


def test_list_of_codes_is_rejected(post: Post, ask: Ask, user: Any) -> None:
    ask()
    codes = [f"{number:08}" for number in range(10)] + [mailed_code()]
    assert post("verify", {"token": codes}).status_code == 400
    assert post("verify", [{"token": code} for code in codes]).status_code == 400
    assert MagicLink.objects.get().used_at is None


def test_get_does_not_use_proof(client: APIClient, post: Post, ask: Ask, user: Any) -> None:
    ask()
    path = "/api/auth/magic/verify/"
    query = {"token": mailed_code(), "k": mailed_key()}
    for method in (client.get, client.head):
        assert method(path, query).status_code == 405
    client.options(path, query)
    assert post("verify", token=mailed_code()).status_code == 200


def test_inactive_user_is_rejected(post: Post, ask: Ask, user: Any) -> None:
    ask()
    get_user_model().objects.update(is_active=False)
    assert refused(post("verify", token=mailed_code()))


def test_address_of_several_active_users_is_unknown(
    post: Post, ask: Ask, user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ask()
    get_user_model().objects.create_user("ada2", email="ADA@example.com")
    assert refused(post("verify", token=mailed_code()))
    ask()
    assert len(mail.outbox) == 1
    assert "several rows of auth.User" in caplog.text
    assert "example.com" not in caplog.text


def test_single_active_user_owns_shared_address(post: Post, ask: Ask, user: Any) -> None:
    get_user_model().objects.create_user("ada2", email="ADA@example.com", is_active=False)
    ask()
    answer = post("verify", token=mailed_code())
    assert answer.json()["user"]["id"] == user.pk


def test_sign_in_records_times(post: Post, ask: Ask, user: Any) -> None:
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


def test_verify_returns_user_without_signing_in(ask: Ask, user: Any, rf: Any) -> None:
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


def test_unknown_address_creates_no_user_without_signup(post: Post, ask: Ask) -> None:
    ask("new@example.com")
    assert mail.outbox == []
    assert not get_user_model().objects.exists()


def test_signup_creates_user_on_verification(post: Post, ask: Ask, settings: Any, events: list[Event]) -> None:
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


def test_signup_rejects_address_of_inactive_user(post: Post, ask: Ask, user: Any, settings: Any) -> None:
    settings.MAGIC_LINK_SIGNUP = True
    user.is_active = False
    user.save()
    ask()
    assert mail.outbox == []
    ask("new@example.com")
    get_user_model().objects.create_user("new", email="new@example.com", is_active=False)
    assert refused(post("verify", token=mailed_code()))
    assert get_user_model().objects.count() == 2


def test_signup_rejects_existing_username(post: Post, ask: Ask, settings: Any) -> None:
    settings.MAGIC_LINK_SIGNUP = True
    ask("new@example.com")
    get_user_model().objects.create_user("new@example.com")
    assert refused(post("verify", token=mailed_code()))


def test_signup_rejects_address_that_the_model_rejects(post: Post, ask: Ask, settings: Any) -> None:
    # An apostrophe is valid in an address, and invalid in Django's user name.
    settings.MAGIC_LINK_SIGNUP = True
    ask("o'neil@example.com")
    assert refused(post("verify", token=mailed_code()))
    assert not get_user_model().objects.exists()


def _create(*, email: str, request: Any) -> Any:
    return get_user_model().objects.create_user(f"of-{email}", email=email, first_name=request.path)


def test_signup_uses_create_user_setting(post: Post, ask: Ask, settings: Any) -> None:
    settings.MAGIC_LINK_SIGNUP = True
    settings.MAGIC_LINK_CREATE_USER = _create
    ask("new@example.com")
    assert post("verify", token=mailed_code()).json()["user"]["first_name"] == "/api/auth/magic/verify/"


def test_views_are_non_atomic_on_every_database(settings: Any) -> None:
    from django.core.handlers.base import BaseHandler
    from django.db import connections
    from django.urls import resolve

    for path in ("request", "verify"):
        view = resolve(f"/api/auth/magic/{path}/").func
        with pytest.MonkeyPatch.context() as patched:
            for alias in connections:
                patched.setitem(connections.settings[alias], "ATOMIC_REQUESTS", True)
            # Django wraps views that run in a transaction.
            assert BaseHandler().make_view_atomic(view) is view
