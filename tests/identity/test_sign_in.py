from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AbstractBaseUser
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from dovetail_core.events import Event
from dovetail_identity.api import views
from dovetail_identity.models import Session
from tests.identity.factories import PASSWORD, make_user
from tests.identity.hashers import CountingHasher

pytestmark = pytest.mark.django_db
URL = "/api/auth/jwt/token/"


def test_credentials_give_a_pair(client: APIClient) -> None:
    user = make_user(email="ada@example.com")
    answer = client.post(URL, {"email": " Ada@Example.com", "password": PASSWORD})
    assert answer.status_code == 200
    assert set(answer.json()) == {"access", "refresh"}
    assert answer["Cache-Control"] == "no-store"
    access, refresh = AccessToken(answer.json()["access"]), RefreshToken(answer.json()["refresh"])
    for token in (access, refresh):
        assert token[api_settings.USER_ID_CLAIM] == str(user.pk)
        assert token["amr"] == ["pwd"]
        assert token["auth_time"] == refresh["iat"]


def test_spaces_at_its_ends_are_part_of_a_password(client: APIClient) -> None:
    make_user(email="ada@example.com", password=" secret ")
    assert client.post(URL, {"email": "ada@example.com", "password": " secret "}).status_code == 200
    assert client.post(URL, {"email": "ada@example.com", "password": "secret"}).status_code == 401


def _unknown() -> None:
    pass


def _wrong_password() -> None:
    make_user(email="ada@example.com", password="another")


def _no_password() -> None:
    make_user(email="ada@example.com", password=None)


def _inactive() -> None:
    make_user(email="ada@example.com", is_active=False)


@pytest.mark.parametrize("account", [_unknown, _wrong_password, _no_password, _inactive])
def test_no_answer_tells_whether_the_account_exists(
    client: APIClient, hashes: type[CountingHasher], account: Callable[[], None]
) -> None:
    account()
    hashes.calls = 0
    with CaptureQueriesContext(connection) as queries:
        answer = client.post(URL, {"email": "ada@example.com", "password": PASSWORD})
    assert answer.status_code == 401
    assert answer.json() == {"detail": "No active account found with the given credentials"}
    assert answer["WWW-Authenticate"] == 'Bearer realm="api"'
    assert hashes.calls == 1
    assert len(queries) == 1


def test_an_account_that_only_a_lenient_backend_lets_in_gets_the_same_answer(
    client: APIClient, settings: Any, events: list[Event]
) -> None:
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.AllowAllUsersModelBackend"]
    make_user(email="ada@example.com", is_active=False)
    answer = client.post(URL, {"email": "ada@example.com", "password": PASSWORD})
    assert answer.status_code == 401
    assert answer.json() == {"detail": "No active account found with the given credentials"}
    assert [event.name for event in events] == ["user.sign_in_failed"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": "ada@example.com"},
        {"password": PASSWORD},
        {"email": "", "password": PASSWORD},
        {"email": "   ", "password": PASSWORD},
        {"email": None, "password": PASSWORD},
        {"email": ["ada@example.com"], "password": PASSWORD},
        {"email": {"a": 1}, "password": PASSWORD},
        {"email": True, "password": PASSWORD},
        {"email": "a\x00@example.com", "password": PASSWORD},
        {"email": "ada@example.com", "password": "a\x00b"},
        {"email": "ada@example.com", "password": "x" * 10_000},
        {"email": "x" * 10_000, "password": PASSWORD},
        [],
        [1],
        "text",
        7,
        None,
    ],
)
def test_a_body_of_another_shape_is_400(client: APIClient, body: Any) -> None:
    make_user(email="ada@example.com")
    assert client.post(URL, body, format="json").status_code == 400


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"email": NaN, "password": Infinity}',
        b'{"email": "\\ud800@example.com", "password": "x"}',
        b'{"email": "ada@example.com", "password": "\\udfff"}',
        b"[" * 100_000,
        b'{"email": ' + b"9" * 10_000 + b', "password": "x"}',
    ],
)
def test_a_body_that_is_no_json_is_400(client: APIClient, raw: bytes) -> None:
    for path in (URL, "/api/auth/jwt/refresh/", "/api/auth/jwt/verify/"):
        assert client.post(path, raw, content_type="application/json").status_code == 400


@pytest.mark.parametrize("value", [12345678, 1.5, True, None, ["12345678"]])
@pytest.mark.parametrize("field", ["email", "password"])
def test_what_is_no_text_is_refused_and_its_field_named(client: APIClient, field: str, value: Any) -> None:
    make_user(email="ada@example.com", password="12345678")
    answer = client.post(URL, {"email": "ada@example.com", "password": "12345678", field: value})
    assert (answer.status_code, set(answer.json())) == (400, {field})
    assert not Session.objects.exists()
    assert client.post(URL, {"email": "ada@example.com", "password": "12345678"}, format="multipart").status_code == 200


def test_forms_are_taken_where_the_project_parses_them(client: APIClient) -> None:
    make_user(email="ada@example.com")
    assert client.post(URL, {"email": "ada@example.com", "password": PASSWORD}, format="multipart").status_code == 200


def test_what_is_sent_as_credentials_otherwise_is_not_looked_at(client: APIClient) -> None:
    make_user(email="ada@example.com")
    client.credentials(HTTP_AUTHORIZATION="Bearer expired")
    assert client.post(URL, {"email": "ada@example.com", "password": PASSWORD}).status_code == 200


def test_a_sign_in_is_three_statements_and_one_more_where_it_notes_the_time(
    client: APIClient, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    user = make_user(email="ada@example.com")
    # The user, the known devices, the session; a savepoint and its release, because the test is a transaction.
    with django_assert_num_queries(5):
        assert client.post(URL, {"email": "ada@example.com", "password": PASSWORD}).status_code == 200
    user.refresh_from_db()
    assert user.last_login is None
    monkeypatch.setattr(api_settings, "UPDATE_LAST_LOGIN", True)
    with django_assert_num_queries(6):
        assert client.post(URL, {"email": "ada@example.com", "password": PASSWORD}).status_code == 200
    user.refresh_from_db()
    assert user.last_login is not None


def test_signing_in_is_an_event(client: APIClient, events: list[Event]) -> None:
    user = make_user(email="ada@example.com")
    client.post(URL, {"email": "ada@example.com", "password": PASSWORD})
    (event,) = events
    assert (event.name, event.actor, event.target) == ("user.signed_in", user, user)
    session = Session.objects.get()
    assert event.data == {"session_id": str(session.pk), "amr": ["pwd"], "network": "127.0.0.1/32"}
    assert event.using == "default"


def test_failing_to_is_an_event_without_an_address_in_clear(client: APIClient, events: list[Event]) -> None:
    make_user(email="ada@example.com")
    for email in ("ada@example.com", " ADA@example.com", "linus@example.com"):
        client.post(URL, {"email": email, "password": "wrong"})
    assert [(event.name, event.actor, event.target) for event in events] == [("user.sign_in_failed", None, None)] * 3
    assert "example" not in repr(events)
    ada, again, linus = (event.data["identifier_hash"] for event in events)
    assert len(ada) == 64
    assert ada == again != linus


def test_a_name_that_several_rows_have_is_treated_as_unknown_and_logged(
    client: APIClient,
    hashes: type[CountingHasher],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    user = make_user(email="ada@example.com")

    def several(self: Any, username: str) -> AbstractBaseUser:
        raise type(user).MultipleObjectsReturned

    monkeypatch.setattr("dovetail_identity.base.UserManager.get_by_natural_key", several)
    hashes.calls = 0
    answer = client.post(URL, {"email": "ada@example.com", "password": PASSWORD})
    assert answer.status_code == 401
    assert answer.json() == {"detail": "No active account found with the given credentials"}
    assert hashes.calls == 1
    assert "several rows of dovetail_identity.User have the same email" in caplog.text
    assert "ada@example.com" not in caplog.text


def test_the_answers_name_their_hooks_and_nothing_of_drf() -> None:
    for view in (views.TokenObtainView, views.TokenRefreshView, views.TokenVerifyView, views.SignOutView):
        # Kept answers would be tokens, and a replay would take back an attempt that was counted.
        assert view.contract == {"throttle": "sign_in", "idempotency": "off"}
        assert not hasattr(view, "throttle_scope")


def test_only_post(client: APIClient) -> None:
    for path in ("token", "refresh", "verify", "logout"):
        assert client.get(f"/api/auth/jwt/{path}/").status_code == 405
        assert client.options(f"/api/auth/jwt/{path}/").status_code == 200
