"""The query for the user of a token, which is compiled once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import models
from django.db.models.signals import post_init
from django.db.models.sql.compiler import SQLCompiler
from django.test import override_settings
from rest_framework.test import APIClient
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken

from dovetail_identity.models import Session, User
from dovetail_identity.services import issue_tokens
from dovetail_identity.sessions import tokens
from tests.identity.factories import make_user

pytestmark = pytest.mark.django_db
VERIFY, ME = "/api/auth/jwt/verify/", "/api/v1/me/"


class Unlocked(models.Manager[User]):
    """Selects other users for each request."""

    locked: list[Any]

    def get_queryset(self) -> models.QuerySet[User]:
        return super().get_queryset().exclude(pk__in=self.locked).defer("password")


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    with override_settings(SAMPLE=1):  # clears the cache, before and after
        yield


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    as_sql = SQLCompiler.as_sql

    def count(compiler: SQLCompiler, *args: Any, **kwargs: Any) -> Any:
        calls.append(str(compiler.query.model))
        return as_sql(compiler, *args, **kwargs)

    monkeypatch.setattr(SQLCompiler, "as_sql", count)
    return calls


def of(user: User) -> AccessToken:
    return AccessToken(issue_tokens(user, request=None)["access"])  # type: ignore[arg-type]  # an encoded token


def test_later_requests_compile_no_query(client: APIClient, compilations: list[str]) -> None:
    pairs = [issue_tokens(make_user(), request=None) for _ in range(2)]
    for pair in pairs:
        compilations.clear()
        assert client.get(ME, headers={"Authorization": f"Bearer {pair['access']}"}).status_code == 200
        assert [client.post(VERIFY, {"token": token}).status_code for token in pair.values()] == [200, 200]
    assert compilations == []


def test_user_is_the_instance_of_the_orm() -> None:
    user, created = make_user(first_name="Ada", email_verified_at=None), []

    def receive(instance: User, **kwargs: object) -> None:
        created.append(instance)

    post_init.connect(receive, sender=User)
    try:
        instance = tokens.user_and_session_state(of(user))
    finally:
        post_init.disconnect(receive, sender=User)
    assert instance.identity_session_is_live is True
    stored = User.objects.get(pk=user.pk)
    fields = [field.attname for field in User._meta.concrete_fields]
    assert {name: vars(instance)[name] for name in fields} == {name: vars(stored)[name] for name in fields}
    assert (instance._state.db, instance._state.adding) == (stored._state.db, False)
    assert any(seen is instance for seen in created)


def test_manager_of_the_project_selects_users_for_each_token(monkeypatch: pytest.MonkeyPatch) -> None:
    user, other = make_user(), make_user()
    manager = Unlocked()
    manager.model, manager.locked = User, []
    monkeypatch.setattr(User._meta, "default_manager", manager)
    token = of(user)
    instance = tokens.user_and_session_state(token)
    assert (instance, instance.get_deferred_fields()) == (user, {"password"})
    manager.locked = [user.pk]
    assert tokens.user_and_session_state(token) is None
    assert tokens.user_of_token(token) is None
    assert tokens.user_of_token(of(other)) == other


@pytest.mark.parametrize("name", ["pk", "email", "first_name"])
def test_user_id_field_may_be_any_field(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(api_settings, "USER_ID_FIELD", name)
    user = make_user(first_name="Ada")
    make_user(first_name="Bo")
    assert tokens.user_and_session_state(of(user)) == user


def test_ambiguous_user_id_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_settings, "USER_ID_FIELD", "first_name")
    user = make_user(first_name="Ada")
    make_user(first_name="Ada")
    with pytest.raises(User.MultipleObjectsReturned):
        tokens.user_of_token(of(user))


def test_session_of_another_user_is_not_live() -> None:
    user, other = make_user(), make_user()
    token = of(user)
    token[api_settings.USER_ID_CLAIM] = str(other.pk)
    assert tokens.user_and_session_state(token).identity_session_is_live is False


def test_end_of_a_session_is_read_with_each_token() -> None:
    token = of(make_user())
    assert tokens.user_and_session_state(token).identity_session_is_live is True
    Session.objects.update(expires_at=tokens.expiry_limit(Session.objects.get().created_at))
    assert tokens.user_and_session_state(token).identity_session_is_live is False
