from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from django.db.models import QuerySet
from django.test import RequestFactory
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from dovetail_core.events import Event
from dovetail_identity import services
from dovetail_identity.models import Session, User
from dovetail_identity.sessions.rotation import TOLERANCE
from dovetail_identity.testing import sign_in
from tests.identity.factories import make_user

pytestmark = pytest.mark.django_db
REFRESH, VERIFY, LOGOUT = "/api/auth/jwt/refresh/", "/api/auth/jwt/verify/", "/api/auth/jwt/logout/"
ME = "/api/v1/me/"
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0"
SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Safari/604.1"


def _refresh(client: APIClient, token: str) -> str:
    answer = client.post(REFRESH, {"refresh": token})
    assert answer.status_code == 200, answer.content
    return str(answer.json()["refresh"])


def _later(seconds: float) -> None:
    """Move the last rotation of all sessions into the past."""
    for session in Session.objects.all():
        session.rotated_at -= timedelta(seconds=seconds)
        session.save()


def _bearer(client: APIClient, access: str) -> int:
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {access}")
    return int(client.get(ME).status_code)


def test_repeated_refresh_returns_the_same_token(client: APIClient) -> None:
    first = services.issue_tokens(make_user(), request=None)["refresh"]
    second = _refresh(client, first)
    _later(3600)
    again = {_refresh(client, first) for _ in range(3)}
    assert again == {_refresh(client, first)}
    assert RefreshToken(second)["jti"] == RefreshToken(again.pop())["jti"] != RefreshToken(first)["jti"]


def test_first_refresh_token_can_be_used_repeatedly(client: APIClient) -> None:
    first = services.issue_tokens(make_user(), request=None)["refresh"]
    for _ in range(5):
        _refresh(client, first)
        _later(24 * 3600)
    assert Session.objects.get().generation == 1


def test_rotation_extends_the_session(client: APIClient) -> None:
    token = services.issue_tokens(make_user(), request=None)["refresh"]
    lifetime = api_settings.REFRESH_TOKEN_LIFETIME
    # Each use happens after two thirds of the lifetime. The token cannot be changed, so the row is.
    for _ in range(3):
        Session.objects.update(expires_at=timezone.now() + lifetime / 3)
        token = _refresh(client, token)
        left = RefreshToken(token)["exp"] - timezone.now().timestamp()
        assert left == pytest.approx(lifetime.total_seconds(), abs=5)


def test_lost_response_does_not_end_the_session(client: APIClient) -> None:
    first = services.issue_tokens(make_user(), request=None)["refresh"]
    _refresh(client, first)  # the response is lost
    _later(3600)
    second = _refresh(client, first)
    third = _refresh(client, second)
    assert [RefreshToken(token)["gen"] for token in (first, second, third)] == [1, 2, 3]


def test_superseded_token_is_tolerated_for_some_seconds(client: APIClient) -> None:
    first = services.issue_tokens(make_user(), request=None)["refresh"]
    second = _refresh(client, first)
    third = _refresh(client, second)
    _later(TOLERANCE.total_seconds() - 3)
    assert client.post(VERIFY, {"token": first}).status_code == 200
    assert RefreshToken(_refresh(client, first))["jti"] == RefreshToken(second)["jti"]
    assert client.post(VERIFY, {"token": first}).status_code == 200
    _refresh(client, third)


def test_superseded_token_is_401_and_ends_the_session(client: APIClient, events: list[Event]) -> None:
    user = make_user()
    first = services.issue_tokens(user, request=None)["refresh"]
    second = _refresh(client, first)
    access = client.post(REFRESH, {"refresh": second}).json()["access"]
    _later(TOLERANCE.total_seconds() + 2)
    assert _bearer(client, access) == 200
    assert client.post(VERIFY, {"token": first}).status_code == 401
    events.clear()
    assert client.post(REFRESH, {"refresh": first}).status_code == 401
    session = Session.objects.get()
    assert (session.revoked_at is not None, session.revoked_reason) == (True, "reused")
    (event,) = events
    assert (event.name, event.target) == ("session.revoked", user)
    assert event.data == {"session_ids": [str(session.pk)], "reason": "reused"}
    # The session has ended for both the attacker and the owner.
    assert client.post(REFRESH, {"refresh": second}).status_code == 401
    assert _bearer(client, access) == 401


def test_token_of_two_generations_ago_ends_the_session_immediately(client: APIClient) -> None:
    first = services.issue_tokens(make_user(), request=None)["refresh"]
    _refresh(client, _refresh(client, _refresh(client, first)))
    assert client.post(REFRESH, {"refresh": first}).status_code == 401
    assert Session.objects.get().revoked_reason == "reused"


def test_later_token_after_a_restore_is_401_and_keeps_the_session(client: APIClient) -> None:
    token = services.issue_tokens(make_user(), request=None)["refresh"]
    for _ in range(3):
        token = _refresh(client, token)
    Session.objects.update(generation=1)
    assert client.post(REFRESH, {"refresh": token}).status_code == 401
    assert Session.objects.get().revoked_at is None


@pytest.mark.parametrize(
    "claims",
    [
        {"sid": None},
        {"sid": "x"},
        {"sid": 7},
        {"sid": ["a"]},
        {"sid": "00000000-0000-7000-8000-000000000000"},
        {"gen": None},
        {"gen": 0},
        {"gen": -1},
        {"gen": True},
        {"gen": "1"},
        {"gen": 10**30},
    ],
)
def test_invalid_claims_are_401(client: APIClient, claims: dict[str, Any]) -> None:
    token = RefreshToken(services.issue_tokens(make_user(), request=None)["refresh"])
    token.payload |= claims
    for path, body in ((REFRESH, {"refresh": str(token)}), (VERIFY, {"token": str(token)})):
        assert client.post(path, body).status_code == 401
    if "sid" in claims:
        assert _bearer(client, str(token.access_token)) == 401


def test_token_of_another_user_than_the_session_is_401(client: APIClient) -> None:
    token = RefreshToken(services.issue_tokens(make_user(), request=None)["refresh"])
    token[api_settings.USER_ID_CLAIM] = str(make_user().pk)
    assert client.post(REFRESH, {"refresh": str(token)}).status_code == 401
    assert _bearer(client, str(token.access_token)) == 401


def test_token_without_a_session_is_401(client: APIClient) -> None:
    user = make_user()
    assert client.post(REFRESH, {"refresh": str(RefreshToken.for_user(user))}).status_code == 401
    assert _bearer(client, str(AccessToken.for_user(user))) == 401


def test_expired_session_is_401(client: APIClient) -> None:
    tokens = services.issue_tokens(make_user(), request=None)
    Session.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
    assert client.post(REFRESH, {"refresh": tokens["refresh"]}).status_code == 401
    assert _bearer(client, tokens["access"]) == 401


def test_simplejwt_rotation_settings_have_no_effect(client: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROTATE_REFRESH_TOKENS", "BLACKLIST_AFTER_ROTATION"):
        monkeypatch.setattr(api_settings, name, True)
    first = services.issue_tokens(make_user(), request=None)["refresh"]
    assert _refresh(client, first) == _refresh(client, first)


def test_sign_out_ends_the_session_and_its_access_tokens(client: APIClient, events: list[Event]) -> None:
    user = make_user()
    tokens, other = (services.issue_tokens(user, request=None) for _ in range(2))
    second = client.post(REFRESH, {"refresh": tokens["refresh"]}).json()
    events.clear()
    answer = client.post(LOGOUT, {"refresh": tokens["refresh"]})
    assert (answer.status_code, answer.content) == (204, b"")
    assert [(event.name, event.data["reason"]) for event in events] == [("session.revoked", "signed_out")]
    for pair in (tokens, second):
        assert _bearer(client, pair["access"]) == 401
        assert client.post(REFRESH, {"refresh": pair["refresh"]}).status_code == 401
        assert client.post(VERIFY, {"token": pair["access"]}).status_code == 401
    assert _bearer(client, other["access"]) == 200
    # Signing out again is not an error.
    assert client.post(LOGOUT, {"refresh": second["refresh"]}).status_code == 204
    assert len(events) == 1


@pytest.mark.parametrize(("body", "status"), [({}, 400), ({"refresh": "a.b.c"}, 401), ({"refresh": None}, 400)])
def test_sign_out_requires_a_refresh_token(client: APIClient, body: dict[str, Any], status: int) -> None:
    assert client.post(LOGOUT, body).status_code == status


def test_sign_out_rejects_an_access_token(client: APIClient) -> None:
    assert client.post(LOGOUT, {"refresh": sign_in(client, make_user())["access"]}).status_code == 401
    assert Session.objects.get().revoked_at is None


def test_deactivation_ends_access_tokens_immediately(client: APIClient) -> None:
    user = make_user()
    tokens = sign_in(client, user)
    assert client.get(ME).status_code == 200
    User.objects.filter(pk=user.pk).update(is_active=False)
    answer = client.get(ME)
    assert (answer.status_code, answer.json()["code"]) == (401, "user_inactive")
    assert client.post(REFRESH, {"refresh": tokens["refresh"]}).status_code == 401


def _from(agent: str, address: str = "192.0.2.7") -> Any:
    return RequestFactory().get("/", HTTP_USER_AGENT=agent, REMOTE_ADDR=address)


@pytest.mark.parametrize(
    ("agent", "device"),
    [
        (FIREFOX, "Firefox on Windows"),
        (SAFARI, "Safari on iPhone"),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Chrome/126 Safari/537.36",
            "Chrome on macOS",
        ),
        ("Mozilla/5.0 (X11; Linux x86_64) Chrome/126 Safari/537.36 Edg/126.0", "Edge on Linux"),
        ("Mozilla/5.0 (Linux; Android 14) SamsungBrowser/25.0 Chrome/121 Safari/537.36", "Samsung Internet on Android"),
        ("okhttp/4.12.0", "okhttp"),
        ("curl/8.5\x00", "curl"),
        ("\x00\n\x1b[31m", "[31m"),
        ("x" * 5000, "x" * 100),
        ("", ""),
    ],
)
def test_session_has_a_device_label(agent: str, device: str) -> None:
    services.issue_tokens(make_user(), request=_from(agent))
    session = Session.objects.get()
    assert (session.device, session.address) == (device, "192.0.2.7")
    assert str(session) == device or str(session.pk)


def test_sign_in_from_a_new_device_emits_an_event(events: list[Event]) -> None:
    user = make_user()
    services.issue_tokens(make_user(), request=_from(SAFARI))
    for agent in (FIREFOX, FIREFOX, SAFARI, FIREFOX.replace("128", "129")):
        services.issue_tokens(user, request=_from(agent, "2001:db8::1"))
    names = [event.name for event in events]
    assert names == ["user.signed_in"] * 4 + ["user.new_device", "user.signed_in"]
    assert events[4].target == user
    session = Session.objects.get(user=user, device="Safari on iPhone")
    assert events[4].data == {
        "session_id": str(session.pk),
        "device": "Safari on iPhone",
        "network": "2001:db8::/64",
    }


def test_session_list_takes_two_queries(client: APIClient, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    user = make_user()
    services.issue_tokens(user, request=_from(FIREFOX))
    over = services.issue_tokens(user, request=_from(FIREFOX))
    services.issue_tokens(make_user(), request=_from(FIREFOX))
    client.post(LOGOUT, {"refresh": over["refresh"]})
    sign_in(client, user)
    with django_assert_num_queries(2):
        answer = client.get("/api/v1/me/sessions/")
    body = answer.json()
    assert body["meta"] == {"next": None, "prev": None, "total": None}
    here, firefox = body["data"]
    assert set(here) == {"id", "device", "address", "current", "created_at", "last_used_at", "expires_at"}
    assert (here["current"], firefox["current"]) == (True, False)
    assert (firefox["device"], firefox["address"]) == ("Firefox on Windows", "192.0.2.7")
    for _ in range(20):
        services.issue_tokens(user, request=None)
    with django_assert_num_queries(2):
        assert len(client.get("/api/v1/me/sessions/").json()["data"]) == 22


def test_session_list_is_paginated(client: APIClient) -> None:
    user = make_user()
    for _ in range(4):
        services.issue_tokens(user, request=None)
    sign_in(client, user)
    seen: list[str] = []
    url = "/api/v1/me/sessions/?limit=2"
    while True:
        answer = client.get(url)
        seen += [row["id"] for row in answer.json()["data"]]
        cursor = answer.json()["meta"]["next"]
        if cursor is None:
            break
        assert f"cursor={cursor}" in unquote(answer["Link"])
        url = f"/api/v1/me/sessions/?limit=2&cursor={cursor}"
    assert seen == [str(key) for key in Session.objects.order_by("-pk").values_list("pk", flat=True)]
    assert answer.json()["meta"]["prev"]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=x", "limit=", "limit=1&limit=2", "cursor=x", "cursor=cD1hYmM=", "cursor=&cursor="],
)
def test_invalid_page_is_400(client: APIClient, query: str) -> None:
    sign_in(client, make_user())
    assert client.get(f"/api/v1/me/sessions/?{query}").status_code == 400


def test_paginator_can_be_replaced(client: APIClient, settings: Any) -> None:
    settings.IDENTITY_PAGINATION_CLASS = "rest_framework.pagination.LimitOffsetPagination"
    sign_in(client, make_user())
    assert client.get("/api/v1/me/sessions/?limit=1").json()["count"] == 1


def test_delete_ends_one_session(client: APIClient) -> None:
    user = make_user()
    other = services.issue_tokens(user, request=None)
    sign_in(client, user)
    url = f"/api/v1/me/sessions/{AccessToken(other['access'])['sid']}/"
    assert client.delete(url).status_code == 204
    assert client.delete(url).status_code == 404
    assert client.get(ME).status_code == 200
    assert _bearer(client, other["access"]) == 401
    assert Session.objects.exclude(revoked_at=None).get().revoked_reason == "revoked"


def test_session_that_is_read_from_a_replica_ends(client: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    user = make_user()
    other = services.issue_tokens(user, request=None)
    sign_in(client, user)
    first = QuerySet.first

    def of_replica(rows: QuerySet[Any]) -> Any:
        row = first(rows)
        if isinstance(row, Session):
            row._state.db = "replica"
        return row

    monkeypatch.setattr(QuerySet, "first", of_replica)
    assert client.delete(f"/api/v1/me/sessions/{AccessToken(other['access'])['sid']}/").status_code == 204


def test_session_of_another_user_is_404(client: APIClient) -> None:
    services.issue_tokens(make_user(), request=None)
    session = Session.objects.get()
    sign_in(client, make_user())
    assert client.delete(f"/api/v1/me/sessions/{session.pk}/").status_code == 404
    assert client.delete("/api/v1/me/sessions/7/").status_code == 404
    assert client.delete("/api/v1/me/sessions/").status_code == 204
    session.refresh_from_db()
    assert session.revoked_at is None


def test_delete_of_the_list_ends_all_other_sessions(client: APIClient, events: list[Event]) -> None:
    user = make_user()
    others = [services.issue_tokens(user, request=None)["access"] for _ in range(2)]
    sign_in(client, user)
    events.clear()
    assert client.delete("/api/v1/me/sessions/").status_code == 204
    (event,) = events
    assert sorted(event.data["session_ids"]) == sorted(AccessToken(access)["sid"] for access in others)
    assert client.get(ME).status_code == 200
    assert [_bearer(client, access) for access in others] == [401, 401]
    assert client.delete("/api/v1/me/sessions/").status_code == 401


def test_delete_of_the_list_with_a_django_session_ends_all(client: APIClient) -> None:
    user = make_user()
    services.issue_tokens(user, request=None)
    client.force_login(user)
    assert [row["current"] for row in client.get("/api/v1/me/sessions/").json()["data"]] == [False]
    assert client.delete("/api/v1/me/sessions/").status_code == 204
    assert client.get("/api/v1/me/sessions/").json()["data"] == []


def test_revoke_services(events: list[Event]) -> None:
    user = make_user()
    services.issue_tokens(user, request=None)
    session = Session.objects.get()
    assert services.revoke_session(session, reason="stolen_laptop")
    assert not services.revoke_session(session)
    services.issue_tokens(user, request=None)
    events.clear()
    assert services.revoke_all_sessions(user) == 1
    assert services.revoke_all_sessions(user) == 0
    assert [event.data["reason"] for event in events] == ["revoked"]


def test_session_without_a_request_has_no_address() -> None:
    services.issue_tokens(make_user(), request=None)
    assert Session.objects.get().address is None


def test_refresh_updates_last_use(client: APIClient) -> None:
    token = services.issue_tokens(make_user(), request=_from(FIREFOX))["refresh"]
    before = timezone.now() - timedelta(days=1)
    Session.objects.update(last_used_at=before)
    client.post(REFRESH, {"refresh": token}, REMOTE_ADDR="198.51.100.4")
    session = Session.objects.get()
    assert session.last_used_at > before
    assert session.address == "198.51.100.4"


def test_services_reject_invalid_tokens() -> None:
    with pytest.raises(TokenError):
        services.refresh_tokens("x", request=None)
