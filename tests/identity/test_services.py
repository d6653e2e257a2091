from __future__ import annotations

from typing import Any

import pytest
from django.db.models.signals import pre_delete
from django.test import RequestFactory
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from dovetail_core.events import Event, domain_event
from dovetail_identity import services
from dovetail_identity.models import Session, User
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
