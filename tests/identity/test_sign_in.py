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


def test_credentials_return_a_token_pair(client: APIClient) -> None:
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


def test_password_is_not_trimmed(client: APIClient) -> None:
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
def test_response_does_not_reveal_whether_the_account_exists(
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
    assert len(queries) == 2  # for the limits, and for the backend


def test_inactive_account_of_a_lenient_backend_has_the_same_response(
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
def test_unexpected_body_is_400(client: APIClient, body: Any) -> None:
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
def test_malformed_json_is_400(client: APIClient, raw: bytes) -> None:
    for path in (URL, "/api/auth/jwt/refresh/", "/api/auth/jwt/verify/"):
        assert client.post(path, raw, content_type="application/json").status_code == 400


@pytest.mark.parametrize("value", [12345678, 1.5, True, None, ["12345678"]])
@pytest.mark.parametrize("field", ["email", "password"])
def test_non_text_value_is_400_for_its_field(client: APIClient, field: str, value: Any) -> None:
    make_user(email="ada@example.com", password="12345678")
    answer = client.post(URL, {"email": "ada@example.com", "password": "12345678", field: value})
    assert (answer.status_code, set(answer.json())) == (400, {field})
    assert not Session.objects.exists()
    assert client.post(URL, {"email": "ada@example.com", "password": "12345678"}, format="multipart").status_code == 200


def test_forms_are_accepted_with_a_form_parser(client: APIClient) -> None:
    make_user(email="ada@example.com")
    assert client.post(URL, {"email": "ada@example.com", "password": PASSWORD}, format="multipart").status_code == 200


def test_other_credentials_are_ignored(client: APIClient) -> None:
    make_user(email="ada@example.com")
    client.credentials(HTTP_AUTHORIZATION="Bearer expired")
    assert client.post(URL, {"email": "ada@example.com", "password": PASSWORD}).status_code == 200


def test_sign_in_takes_four_statements_and_one_for_last_login(
    client: APIClient, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    user = make_user(email="ada@example.com")
    # The account for the limits, the user, the known devices, the session, and a savepoint and its release in the
    # transaction of the test.
    with django_assert_num_queries(6):
        assert client.post(URL, {"email": "ada@example.com", "password": PASSWORD}).status_code == 200
    user.refresh_from_db()
    assert user.last_login is None
    monkeypatch.setattr(api_settings, "UPDATE_LAST_LOGIN", True)
    with django_assert_num_queries(7):
        assert client.post(URL, {"email": "ada@example.com", "password": PASSWORD}).status_code == 200
    user.refresh_from_db()
    assert user.last_login is not None


def test_sign_in_emits_an_event(client: APIClient, events: list[Event]) -> None:
    user = make_user(email="ada@example.com")
    client.post(URL, {"email": "ada@example.com", "password": PASSWORD})
    (event,) = events
    assert (event.name, event.actor, event.target) == ("user.signed_in", user, user)
    session = Session.objects.get()
    assert event.data == {"session_id": str(session.pk), "amr": ["pwd"], "network": "127.0.0.1/32"}
    assert event.using == "default"


def test_failed_sign_in_emits_an_event_without_the_address(client: APIClient, events: list[Event]) -> None:
    make_user(email="ada@example.com")
    for email in ("ada@example.com", " ADA@example.com", "linus@example.com"):
        client.post(URL, {"email": email, "password": "wrong"})
    assert [(event.name, event.actor, event.target) for event in events] == [("user.sign_in_failed", None, None)] * 3
    assert "example" not in repr(events)
    ada, again, linus = (event.data["identifier_hash"] for event in events)
    assert len(ada) == 64
    assert ada == again != linus


def test_ambiguous_username_is_treated_as_unknown_and_logged(
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


def test_views_declare_their_contract() -> None:
    for view in (views.TokenObtainView, views.TokenRefreshView, views.TokenVerifyView, views.SignOutView):
        # A replayed response would contain tokens, and would not count as an attempt.
        assert view.contract == {"throttle": "sign_in", "idempotency": "off"}
        assert not hasattr(view, "throttle_scope")


def test_other_methods_are_405(client: APIClient) -> None:
    for path in ("token", "refresh", "verify", "logout"):
        assert client.get(f"/api/auth/jwt/{path}/").status_code == 405
        assert client.options(f"/api/auth/jwt/{path}/").status_code == 200
