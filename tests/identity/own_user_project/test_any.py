"""Tests for all user models."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.checks import WARNING, run_checks
from django.core.management import call_command
from django.db import connection
from pytest_django import DjangoAssertNumQueries
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.test import APIClient
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from dovetail_core.events import Event, domain_event
from dovetail_identity.api.authentication import JWTAuthentication
from dovetail_identity.registration.link_tokens import reset_token
from tests.identity.hashers import CountingHasher
from tests.identity.own_user_project.users import PASSWORD, credentials, make_user

TOKEN, REFRESH, VERIFY, ME = "/api/auth/jwt/token/", "/api/auth/jwt/refresh/", "/api/auth/jwt/verify/", "/api/v1/me/"


@pytest.mark.django_db
def test_no_user_table_is_created() -> None:
    assert "dovetail_identity_user" not in connection.introspection.table_names()
    assert get_user_model()._meta.db_table in connection.introspection.table_names()


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    call_command("makemigrations", "--check", "--dry-run", stdout=io.StringIO())


def test_system_checks_report_no_error() -> None:
    messages = [message for message in run_checks() if message.level > WARNING and not message.is_silenced()]
    assert messages == []


@pytest.mark.django_db
def test_sign_in_refresh_and_verify(client: APIClient, user: Any) -> None:
    answer = client.post(TOKEN, credentials(user))
    assert answer.status_code == 200
    tokens = answer.json()
    assert AccessToken(tokens["access"])[api_settings.USER_ID_CLAIM] == str(user.pk)
    for token in tokens.values():
        assert client.post(VERIFY, {"token": token}).status_code == 200
    answer = client.post(REFRESH, {"refresh": tokens["refresh"]})
    assert answer.status_code == 200
    assert set(answer.json()) == {"access", "refresh"}


@pytest.mark.django_db
def test_access_token_authenticates_with_one_query(
    client: APIClient, user: Any, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    access = client.post(TOKEN, credentials(user)).json()["access"]
    authentication = JWTAuthentication()
    with django_assert_num_queries(1):
        assert authentication.get_user(authentication.get_validated_token(access.encode())) == user


@pytest.mark.django_db
@pytest.mark.parametrize("password", ["wrong", PASSWORD])
def test_wrong_credentials_are_401_after_one_hash(
    client: APIClient, user: Any, hashes: type[CountingHasher], password: str
) -> None:
    body = credentials(user) | {"password": password}
    if password == PASSWORD:
        body[user.USERNAME_FIELD] = "unknown"
    hashes.calls = 0
    answer = client.post(TOKEN, body)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == 'Bearer realm="api"'
    assert hashes.calls == 1


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["", " ", None, 7, -1, 10**30, True, [], {}, "\x00", "\ud800", "x" * 10_000, "ａ"])
def test_no_username_is_5xx(client: APIClient, user: Any, name: Any) -> None:
    body = json.dumps({user.USERNAME_FIELD: name, "password": PASSWORD})
    assert client.post(TOKEN, body, content_type="application/json").status_code in (400, 401)


@pytest.mark.django_db
def test_token_of_a_deleted_user_is_401(client: APIClient, user: Any) -> None:
    tokens = client.post(TOKEN, credentials(user)).json()
    user.delete()
    assert client.post(REFRESH, {"refresh": tokens["refresh"]}).status_code == 401
    assert client.post(VERIFY, {"token": tokens["access"]}).status_code == 401


@pytest.mark.django_db
@pytest.mark.parametrize(
    "user_id",
    ["424242", 424242, -1, 10**30, None, "", "x", "\ud800", "9" * 5000, [], ["a"], {}, {"a": "b"}],
)
def test_token_with_an_impossible_user_id_is_401(client: APIClient, user: Any, user_id: Any) -> None:
    refresh = RefreshToken()
    refresh[api_settings.USER_ID_CLAIM] = user_id
    assert client.post(REFRESH, {"refresh": str(refresh)}).status_code == 401
    assert client.post(VERIFY, {"token": str(refresh.access_token)}).status_code == 401
    with pytest.raises(AuthenticationFailed):
        JWTAuthentication().get_user(refresh.access_token)


@pytest.mark.django_db
def test_account_is_shown_and_deleted(signed_in: APIClient, user: Any) -> None:
    shown = signed_in.get(ME)
    assert shown.status_code == 200
    assert str(shown.json()["id"]) == str(user.pk)
    assert signed_in.patch(ME, {}).json() == shown.json()
    other = make_user()
    assert signed_in.delete(ME).status_code == 204
    assert list(get_user_model()._default_manager.all()) == [other]
    assert signed_in.get(ME).status_code in (401, 403)


@pytest.mark.django_db(transaction=True)
def test_records_of_a_failed_attempt_survive_the_rollback(client: APIClient) -> None:
    noted = make_user()

    def note(event: Event, **kwargs: Any) -> None:
        if event.name == "user.sign_in_failed":
            noted.password = "noted"
            noted.save(update_fields=["password"])

    domain_event.connect(note)
    try:
        assert client.post(TOKEN, credentials(noted) | {"password": "wrong"}).status_code == 401
    finally:
        domain_event.disconnect(note)
    noted.refresh_from_db()
    assert noted.password == "noted"


@pytest.mark.django_db
def test_password_reset_with_any_primary_key(client: APIClient, user: Any) -> None:
    tokens = client.post(TOKEN, credentials(user)).json()
    user.refresh_from_db()
    body = {"token": reset_token(user), "password": "another battery staple 7"}
    answer = client.post("/api/auth/password/reset/confirm/", body)
    assert (answer.status_code, answer.content) == (204, b"")
    assert client.post(REFRESH, {"refresh": tokens["refresh"]}).status_code == 401
    assert client.post(TOKEN, credentials(user)).status_code == 401
    assert client.post(TOKEN, credentials(user) | {"password": body["password"]}).status_code == 200
    answer = client.post("/api/auth/password/reset/confirm/", body)
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_or_expired"})


@pytest.mark.django_db
def test_password_change(signed_in: APIClient, user: Any) -> None:
    body = {"current_password": PASSWORD, "new_password": "another battery staple 7"}
    assert signed_in.post("/api/auth/password/change/", body).status_code == 204
    user.refresh_from_db()
    assert user.check_password("another battery staple 7")


@pytest.mark.django_db
def test_sign_out_survives_the_rollback(client: APIClient, user: Any) -> None:
    tokens = client.post(TOKEN, credentials(user)).json()
    assert client.post("/api/auth/jwt/logout/", {"refresh": tokens["refresh"]}).status_code == 204
    assert client.post(REFRESH, {"refresh": tokens["refresh"]}).status_code == 401
    assert client.post(VERIFY, {"token": tokens["access"]}).status_code == 401


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["x", "shared@example.com", "%", "a" * 200])
def test_password_reset_is_always_202(client: APIClient, user: Any, address: str) -> None:
    answer = client.post("/api/auth/password/reset/", {"email": address})
    assert (answer.status_code, answer.json()) == (202, {})


@pytest.mark.django_db
def test_registration_is_closed(client: APIClient) -> None:
    body = {"email": "ada@example.com", "password": PASSWORD}
    assert client.post("/api/auth/register/", body).status_code == 403
