from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.state import token_backend
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken, SlidingToken, Token

from dovetail_identity.models import Session, User
from dovetail_identity.services import issue_tokens
from dovetail_identity.sessions import tokens
from tests.identity.factories import make_user

pytestmark = pytest.mark.django_db
REFRESH = "/api/auth/jwt/refresh/"
VERIFY = "/api/auth/jwt/verify/"


def _expired(kind: type[Token], user: User) -> str:
    token = kind.for_user(user)
    token.set_exp(lifetime=timedelta(minutes=-1))
    return str(token)


def _of(user_id: Any) -> str:
    token = RefreshToken()
    token[api_settings.USER_ID_CLAIM] = user_id
    return str(token)


def test_refresh_takes_three_statements(client: APIClient, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    user = make_user()
    tokens = issue_tokens(user, request=None, amr=("otp",))
    with django_assert_num_queries(3):
        answer = client.post(REFRESH, {"refresh": tokens["refresh"]})
    assert answer.status_code == 200
    assert set(answer.json()) == {"access", "refresh"}
    assert answer["Cache-Control"] == "no-store"
    access = AccessToken(answer.json()["access"])
    assert access[api_settings.USER_ID_CLAIM] == str(user.pk)
    assert access["amr"] == ["otp"]
    first, second = RefreshToken(tokens["refresh"]), RefreshToken(answer.json()["refresh"])
    assert access["auth_time"] == first["auth_time"] == second["auth_time"]
    assert access["sid"] == first["sid"] == second["sid"]
    assert (first["gen"], second["gen"], access.get("gen")) == (1, 2, None)


def test_verify_accepts_the_same_tokens_as_the_api(
    client: APIClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    tokens = issue_tokens(make_user(), request=None)
    for token in tokens.values():
        with django_assert_num_queries(1):
            answer = client.post(VERIFY, {"token": token})
        assert answer.status_code == 200
        assert answer.json() == {}


@pytest.mark.parametrize(("path", "key"), [(REFRESH, "refresh"), (VERIFY, "token")])
def test_missing_or_inactive_account_is_401(client: APIClient, path: str, key: str) -> None:
    gone, inactive = make_user(), make_user()
    tokens = [issue_tokens(user, request=None)["refresh"] for user in (gone, inactive)]
    gone.delete()
    User.objects.filter(pk=inactive.pk).update(is_active=False)
    for token in tokens:
        answer = client.post(path, {key: token})
        assert answer.status_code == 401
        assert answer["WWW-Authenticate"] == 'Bearer realm="api"'
        assert answer.json()["code"] == "token_not_valid"
    assert answer.json()["detail"] == "No active account found for the given token."


@pytest.mark.parametrize("user_id", ["42", 42, "no uuid", ["a"], {"a": "b"}, None, "", True, "x\x00"])
@pytest.mark.parametrize(("path", "key"), [(REFRESH, "refresh"), (VERIFY, "token")])
def test_impossible_user_id_is_401(client: APIClient, path: str, key: str, user_id: Any) -> None:
    make_user()
    assert client.post(path, {key: _of(user_id)}).status_code == 401


def test_token_without_a_user_is_401(client: APIClient) -> None:
    assert client.post(REFRESH, {"refresh": str(RefreshToken())}).status_code == 401
    assert client.post(VERIFY, {"token": str(AccessToken())}).status_code == 401


def test_refresh_rejects_access_tokens(client: APIClient) -> None:
    user = make_user()
    for token in (issue_tokens(user, request=None)["access"], str(SlidingToken.for_user(user))):
        answer = client.post(REFRESH, {"refresh": token})
        assert answer.status_code == 401
        assert answer.json()["detail"] == "Token has wrong type"


def test_expired_token_is_401(client: APIClient) -> None:
    user = make_user()
    assert client.post(REFRESH, {"refresh": _expired(RefreshToken, user)}).status_code == 401
    assert client.post(VERIFY, {"token": _expired(AccessToken, user)}).status_code == 401


@pytest.mark.parametrize(("seconds", "status"), [(25, 200), (35, 401)])
def test_tokens_tolerate_half_a_minute_of_clock_skew(client: APIClient, seconds: int, status: int) -> None:
    """Without leeway, a token of a server whose clock is a second ahead was 401 "Token is invalid" on the next one."""
    skew = timedelta(seconds=seconds)
    past, future = timezone.now() - skew, timezone.now() + skew
    for claims in ({"exp": past}, {"iat": future}):
        pair = issue_tokens(make_user(), request=None)
        Session.objects.update(expires_at=claims.get("exp", future))
        changed: dict[str, Token] = {}
        for kind, name in ((RefreshToken, "refresh"), (AccessToken, "access")):
            token = kind(pair[name])  # type: ignore[literal-required, arg-type]  # an encoded token
            for claim, time in claims.items():
                token.payload[claim] = int(time.timestamp())
            changed[name] = token
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {changed['access']}")
        assert client.get("/api/v1/me/").status_code == status
        client.credentials()
        for token in changed.values():
            assert client.post(VERIFY, {"token": str(token)}).status_code == status
        assert client.post(REFRESH, {"refresh": str(changed["refresh"])}).status_code == status


def test_leeway_of_the_project_takes_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_backend, "leeway", 0)
    # Not the settings: simplejwt would replace its own settings object, of which other modules have the old one.
    monkeypatch.setattr(tokens, "settings", SimpleNamespace(SIMPLE_JWT={"LEEWAY": 0}))
    tokens.install_leeway()
    assert token_backend.get_leeway() == timedelta(0)
    monkeypatch.setattr(tokens, "settings", SimpleNamespace())
    tokens.install_leeway()
    assert token_backend.get_leeway() == timedelta(seconds=30)


def test_forged_token_is_401(client: APIClient) -> None:
    claims = RefreshToken(issue_tokens(make_user(), request=None)["refresh"]).payload
    forged = jwt.encode(claims, "another-key-that-is-at-least-32-characters", algorithm="HS256")
    unsigned = jwt.encode(claims, None, algorithm="none")
    for token in (forged, unsigned, "a.b.c", "..", "x", "é", "ey" * 5000):
        assert client.post(REFRESH, {"refresh": token}).status_code == 401
        assert client.post(VERIFY, {"token": token}).status_code == 401


@pytest.mark.parametrize("value", ["", None, [], {}, True, "\x00", "x" * 20_000])
def test_invalid_body_is_400(client: APIClient, value: Any) -> None:
    assert client.post(REFRESH, {"refresh": value}).status_code == 400
    assert client.post(VERIFY, {"token": value}).status_code == 400


def test_refresh_ignores_project_defaults(client: APIClient) -> None:
    tokens = issue_tokens(make_user(), request=None)
    client.credentials(HTTP_AUTHORIZATION="Bearer expired")
    assert client.post(REFRESH, {"refresh": tokens["refresh"]}).status_code == 200
    assert client.post(VERIFY, {"token": tokens["access"]}).status_code == 200
