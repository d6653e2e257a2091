from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from django.db import OperationalError
from django.db.models.signals import pre_delete
from django.test import RequestFactory
from rest_framework.test import APIClient
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from dovetail_core.events import Event, domain_event
from dovetail_core.transactions import Vanished
from dovetail_identity import services
from dovetail_identity.api.permissions import IsPerson
from dovetail_identity.models import Session, User
from dovetail_identity.registration.link_tokens import reset_token
from dovetail_identity.sessions.attempts import begin_link
from tests.identity.factories import PASSWORD, make_user

pytestmark = pytest.mark.django_db


def test_lifetimes_come_from_simplejwt() -> None:
    tokens = services.issue_tokens(make_user(), request=None)
    access, refresh = AccessToken(tokens["access"]), RefreshToken(tokens["refresh"])
    assert access["exp"] - access["iat"] == api_settings.ACCESS_TOKEN_LIFETIME.total_seconds()
    assert refresh["exp"] - refresh["iat"] == api_settings.REFRESH_TOKEN_LIFETIME.total_seconds()


def test_tokens_and_events_contain_the_authentication_method(events: list[Event]) -> None:
    request = RequestFactory().get("/", REMOTE_ADDR="2001:db8::1")
    tokens = services.issue_tokens(make_user(), request=request, amr=("otp", "mfa"))
    assert AccessToken(tokens["access"])["amr"] == ["otp", "mfa"]
    session = Session.objects.get()
    assert events[0].data == {"session_id": str(session.pk), "amr": ["otp", "mfa"], "network": "2001:db8::/64"}
    assert session.address == "2001:db8::1"


def test_network_is_none_outside_a_request(events: list[Event]) -> None:
    services.issue_tokens(make_user(), request=None)
    assert events[0].data["network"] is None


def test_inactive_account_gets_no_tokens(events: list[Event]) -> None:
    with pytest.raises(TokenError, match="No active account"):
        services.issue_tokens(make_user(is_active=False), request=None)
    assert events == []


def test_exception_in_a_receiver_prevents_the_sign_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_settings, "UPDATE_LAST_LOGIN", True)
    user = make_user(email="ada@example.com")

    def refuse(**kwargs: Any) -> None:
        raise RuntimeError("no room in the audit log")

    domain_event.connect(refuse)
    try:
        with pytest.raises(RuntimeError):
            services.sign_in(username="ada@example.com", password=PASSWORD, request=RequestFactory().get("/"))
    finally:
        domain_event.disconnect(refuse)
    user.refresh_from_db()
    assert user.last_login is None


def test_update_user_saves_only_the_changes(events: list[Event]) -> None:
    user = make_user(first_name="Ada")
    User.objects.filter(pk=user.pk).update(is_staff=True, last_name="Lovelace")
    services.update_user(user, changes={"first_name": "Augusta", "phone_number": ""})
    assert (user.first_name, user.is_staff, user.last_name) == ("Augusta", False, "")
    user.refresh_from_db()
    assert (user.first_name, user.is_staff, user.last_name) == ("Augusta", True, "Lovelace")
    assert [(event.name, event.target, event.data) for event in events] == [
        ("user.updated", user, {"fields": ["first_name"]})
    ]


def test_update_user_without_changes_takes_no_query(events: list[Event], django_assert_num_queries: Any) -> None:
    user = make_user(first_name="Ada")
    with django_assert_num_queries(0):
        services.update_user(user, changes={"first_name": "Ada"})
    assert events == []


def test_deletion_event_contains_the_primary_key(events: list[Event]) -> None:
    user = make_user()
    user_id = user.pk
    services.delete_user(user)
    assert not User.objects.exists()
    (event,) = events
    assert (event.name, event.target.pk, event.data) == ("user.deleted", user_id, {"user_id": str(user_id)})


def test_prevented_deletion_emits_no_event(events: list[Event]) -> None:
    user = make_user()

    def refuse(**kwargs: Any) -> None:
        raise RuntimeError("the last owner")

    pre_delete.connect(refuse, sender=User)
    try:
        with pytest.raises(RuntimeError):
            services.delete_user(user)
    finally:
        pre_delete.disconnect(refuse, sender=User)
    assert User.objects.get() == user
    assert events == []


@pytest.fixture
def deadlocks() -> Iterator[list[Exception]]:
    """The first event raises a deadlock, and others do not."""
    deadlocks: list[Exception] = [OperationalError(1213, "Deadlock found")]

    def fail_once(event: Event, **_: Any) -> None:
        if deadlocks:
            raise deadlocks.pop()

    domain_event.connect(fail_once)
    yield deadlocks
    domain_event.disconnect(fail_once)


@pytest.mark.django_db(transaction=True)
def test_password_change_is_repeated_after_a_deadlock(deadlocks: list[Exception]) -> None:
    user = make_user()
    services.change_password(user, current_password=PASSWORD, new_password="another battery staple 7")
    user.refresh_from_db()
    assert (deadlocks, user.check_password("another battery staple 7")) == ([], True)


@pytest.mark.django_db(transaction=True)
def test_repeated_reset_counts_one_attempt(deadlocks: list[Exception], rf: RequestFactory) -> None:
    user = make_user()
    with patch("dovetail_identity.registration.passwords.begin_link", wraps=begin_link) as counted:
        services.reset_password(token=reset_token(user), password="another battery staple 7", request=rf.post("/"))
    user.refresh_from_db()
    assert (deadlocks, counted.call_count) == ([], 1)
    assert user.check_password("another battery staple 7")


@pytest.mark.django_db(transaction=True)
def test_sign_in_of_a_deleted_account_raises_vanished() -> None:
    user = make_user()
    User.objects.filter(pk=user.pk).delete()
    with pytest.raises(Vanished):
        services.issue_tokens(user, request=None)
    with pytest.raises(Vanished):
        services.delete_user(user)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("patch", "/api/v1/me/", {"first_name": "Ada"}),
        ("delete", "/api/v1/me/", None),
        (
            "post",
            "/api/auth/password/change/",
            {"current_password": PASSWORD, "new_password": "another battery staple 7"},
        ),
    ],
)
def test_request_of_a_user_who_is_deleted_meanwhile_is_401(
    monkeypatch: pytest.MonkeyPatch, method: str, path: str, body: Any
) -> None:
    def delete_user(permission: IsPerson, request: Any, view: Any) -> bool:
        return bool(User.objects.filter(pk=request.user.pk).delete()[0])

    monkeypatch.setattr(IsPerson, "has_permission", delete_user)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {services.issue_tokens(make_user(), request=None)['access']}")
    assert getattr(client, method)(path, body, format="json").status_code == 401
