from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.cache import cache
from django.test import override_settings
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory, force_authenticate
from rest_framework.throttling import UserRateThrottle
from rest_framework.views import APIView

from dovetail_adminapi.api.wrapping import guarded_view
from dovetail_core.events import Event
from tests.adminapi.world import ADMIN, client, person

pytestmark = pytest.mark.django_db
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def test_every_answer_has_the_headers() -> None:
    group = Group.objects.create(name="old")
    editor = client(person("editor", "auth.view_group", "auth.change_group"), raise_request_exception=False)
    answers = [
        client().get(ADMIN),
        editor.get(f"{ADMIN}groups"),
        editor.delete(f"{ADMIN}groups/{group.pk}"),
        editor.get(f"{ADMIN}nothing"),
        editor.patch(f"{ADMIN}groups"),
        editor.post(f"{ADMIN}groups/{group.pk}/broken"),
    ]
    assert [answer.status_code for answer in answers] == [401, 200, 403, 404, 405, 500]
    for answer in answers:
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert {"Cookie", "Authorization"} <= {name.strip() for name in answer.headers["Vary"].split(",")}


def test_refusals_do_not_list_methods() -> None:
    assert "Allow" not in client(person()).get(f"{ADMIN}groups").headers
    assert "Allow" in client(person("viewer", "auth.view_group")).patch(f"{ADMIN}groups").headers


@override_settings(ADMINAPI_HOSTS=["admin.example.com", ".internal"], ALLOWED_HOSTS=["*"])
def test_other_hosts_are_404_before_authentication(events: list[Event]) -> None:
    api = client(person("viewer", "auth.view_group"))
    for host in ("admin.example.com", "admin.example.com:8443", "a.internal"):
        assert api.get(f"{ADMIN}groups", headers={"host": host}).status_code == 200
    events.clear()
    for path in ("", "groups", "nothing"):
        for caller in (api, client()):
            for host in ("api.example.com", "example.com", "admin.example.com.evil.org"):
                assert caller.get(ADMIN + path, headers={"host": host}).status_code == 404
    assert {(event.name, event.data["status"]) for event in events} == {("admin.denied", 404)}


@override_settings(ADMINAPI_NETWORKS=["10.0.0.0/8", "2001:db8::/32"])
def test_other_networks_are_404() -> None:
    api = client(person("viewer", "auth.view_group"))
    addresses = {"10.1.2.3": 200, "2001:db8::1": 200, "192.0.2.1": 404, "2001:db9::1": 404, "": 404}
    for address, status in addresses.items():
        assert api.get(f"{ADMIN}groups", REMOTE_ADDR=address).status_code == status
    # Not a trusted proxy, so its header says nothing.
    response = api.get(f"{ADMIN}groups", REMOTE_ADDR="192.0.2.1", headers={"X-Forwarded-For": "10.1.2.3"})
    assert response.status_code == 404


def csrf_client(user: Any) -> Any:
    api = client(user, enforce_csrf_checks=True)
    api.cookies["csrftoken"] = "a" * 32
    return api


@pytest.mark.parametrize(
    "authentication",
    ["rest_framework.authentication.SessionAuthentication", "tests.adminapi.credentials.SessionWithoutCSRF"],
)
def test_session_needs_the_csrf_token(authentication: str) -> None:
    from types import ModuleType

    from django.urls import include, path

    from dovetail_adminapi.api.wrapping import guarded
    from tests.adminapi import shop

    with override_settings(ADMINAPI_AUTHENTICATION_CLASSES=[authentication]):
        urls = ModuleType("csrf_urls")
        urls.urlpatterns = [path("admin/v1/", include((guarded(shop.urlpatterns, "shop"), "x")))]  # type: ignore[attr-defined]
    group = Group.objects.create(name="old")
    api = csrf_client(person("editor", "auth.change_group"))
    rename = f"{ADMIN}groups/{group.pk}/rename"
    with override_settings(ROOT_URLCONF=urls):
        refused = api.post(rename, {"name": "new"})
        assert (refused.status_code, refused.json()["code"]) == (403, "csrf_failed")
        allowed = api.post(rename, {"name": "new"}, headers={"X-CSRFToken": "a" * 32})
        assert allowed.status_code == 200, allowed.content


def test_token_needs_no_csrf_token_beside_a_session() -> None:
    editor = person("editor", "auth.change_group")
    group = Group.objects.create(name="old")
    with override_settings(
        ADMINAPI_AUTHENTICATION_CLASSES=None,
    ):
        api = client(enforce_csrf_checks=True)
        claims = json.dumps({"sub": editor.pk})
        response = api.post(
            f"{ADMIN}groups/{group.pk}/rename", {"name": "new"}, headers={"Authorization": f"Claims {claims}"}
        )
    assert response.status_code == 200


@pytest.mark.parametrize("method", ["get", "post"])
def test_requests_of_other_sites_are_refused(method: str) -> None:
    api = client(person("editor", "auth.view_group", "auth.add_group"))
    call = getattr(api, method)
    foreign = call(f"{ADMIN}groups", headers={"Sec-Fetch-Site": "cross-site"})
    assert (foreign.status_code, foreign.json()["code"]) == (403, "csrf_failed")
    for site in ("same-origin", "same-site", "none"):
        assert call(f"{ADMIN}groups", {"name": site}, headers={"Sec-Fetch-Site": site}).status_code in {200, 201}


def test_writes_of_other_origins_are_refused_unless_listed() -> None:
    api = client(person("editor", "auth.view_group", "auth.add_group"))
    portal = "https://portal.example.org"
    for origin in (portal, "null", "https://testserver.example.org", "not an origin"):
        assert api.post(f"{ADMIN}groups", {"name": "x"}, headers={"Origin": origin}).status_code == 403
    assert api.post(f"{ADMIN}groups", {"name": "own"}, headers={"Origin": "http://testserver"}).status_code == 201
    with override_settings(ADMINAPI_ORIGINS=[portal]):
        headers = {"Origin": portal, "Sec-Fetch-Site": "cross-site"}
        assert api.post(f"{ADMIN}groups", {"name": "portal"}, headers=headers).status_code == 201
        headers["Origin"] = "https://evil.example.org"
        assert api.get(f"{ADMIN}groups", headers=headers).status_code == 403


def test_token_and_session_of_different_people_are_ambiguous() -> None:
    ada, bob = person("ada", "auth.view_group"), person("bob", "auth.view_group")
    api = client(ada)
    for user, status in ((ada, 200), (bob, 400)):
        response = api.get(f"{ADMIN}groups", headers={"Authorization": f"Claims {json.dumps({'sub': user.pk})}"})
        assert response.status_code == status
    assert response.json()["code"] == "ambiguous_credentials"
    machine = api.get(f"{ADMIN}groups", headers={"Authorization": "Key acme"})
    assert machine.json()["code"] == "ambiguous_credentials"


@override_settings(
    ADMINAPI_AUTHENTICATION_CLASSES=[
        "tests.adminapi.credentials.ClaimsAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ]
)
def test_token_before_the_session_of_another_is_ambiguous() -> None:
    ada, bob = person("ada", "auth.view_group"), person("bob", "auth.view_group")
    view = guarded_view(Limited.as_view(), "shop", "limited")
    for user, status in ((ada, 200), (bob, 400)):
        request = APIRequestFactory().get("/limited", HTTP_AUTHORIZATION=f"Claims {json.dumps({'sub': user.pk})}")
        session = client(ada).session
        request.session, request.COOKIES = session, {"sessionid": session.session_key}
        assert view(request).status_code == status


def test_token_that_acts_for_another_is_refused() -> None:
    user = person("editor", "auth.view_group")
    claims = json.dumps({"sub": user.pk, "act": {"sub": "7"}})
    response = client().get(f"{ADMIN}groups", headers={"Authorization": f"Claims {claims}"})
    assert (response.status_code, response.json()["code"]) == (403, "impersonation_not_admitted")


def test_anonymous_gets_401_and_a_challenge() -> None:
    """REST framework answers 403, because SessionAuthentication comes first and has no challenge."""
    response = client().get(f"{ADMIN}groups")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"]


@override_settings(
    ADMINAPI_THROTTLE=True,
    REST_FRAMEWORK={"DEFAULT_THROTTLE_RATES": {"admin": "3/hour"}, "TEST_REQUEST_DEFAULT_FORMAT": "json"},
)
def test_throttle_limits_calls_if_switched_on() -> None:
    cache.clear()
    api = client(person("viewer", "auth.view_group"))
    assert [api.get(f"{ADMIN}groups").status_code for _ in range(4)] == [200, 200, 200, 429]
    cache.clear()


class OncePerHour(UserRateThrottle):
    rate = "1/hour"


class Limited(APIView):
    admin = {"permissions": {"get": "auth.view_group"}}
    throttle_classes = (OncePerHour,)

    def get(self, request: Request) -> Response:
        return Response()


def test_5000_calls_are_unlimited_where_the_view_itself_is_limited() -> None:
    cache.clear()
    viewer = person("viewer", "auth.view_group")
    factory = APIRequestFactory()

    def status(view: Any) -> int:
        request = factory.get("/limited")
        force_authenticate(request, viewer)
        return int(view(request).status_code)

    limited = Limited.as_view()
    guarded = guarded_view(limited, "shop", "limited")
    assert [status(limited), status(limited)] == [200, 429]
    assert {status(guarded) for _ in range(5000)} == {200}
    assert status(limited) == 429
    cache.clear()


def test_context_surrounds_the_call() -> None:
    from contextlib import contextmanager

    seen: list[str] = []

    @contextmanager
    def context(request: Any) -> Any:
        seen.append(f"enter {request.method}")
        yield
        seen.append("leave")

    viewer = client(person("viewer", "auth.view_group"))
    with override_settings(ADMINAPI_CONTEXT=context):
        assert viewer.get(f"{ADMIN}groups").status_code == 200
        assert viewer.post(f"{ADMIN}groups").status_code == 403
    assert seen == ["enter GET", "leave"]
