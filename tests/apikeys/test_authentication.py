"""What an API key opens and what it does not, by HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.test import APIClient

from dovetail_apikeys import services
from dovetail_apikeys.api.authentication import APIKeyAuthentication
from dovetail_apikeys.verification import raw_key
from tests.apikeys.factories import bearer, make_firm, make_key, signed_in
from tests.apikeys.firms.models import Firm
from tests.apikeys.firms.views import Plain

pytestmark = pytest.mark.django_db

GOOD_CHECKSUM = raw_key.sealed("dvt_live_" + "A" * 44)


def revoked() -> str:
    api_key, raw = make_key()
    services.revoke_api_key(api_key)
    return raw


def expired() -> str:
    api_key, raw = make_key()
    type(api_key).objects.update(expires_at=timezone.now())
    return raw


def deleted() -> str:
    api_key, raw = make_key()
    services.delete_api_key(api_key)
    return raw


def forged() -> str:
    api_key, _raw = make_key()
    return raw_key.sealed(api_key.key_prefix + "A" * 32)


BAD = {
    "revoked": revoked,
    "expired": expired,
    "deleted": deleted,
    "another secret": forged,
    "unknown": lambda: GOOD_CHECKSUM,
}
MALFORMED = {
    "empty": "",
    "brand alone": "dvt_",
    "no such brand": "sk_live_" + "A" * 50,
    "short": GOOD_CHECKSUM[:-1],
    "long": GOOD_CHECKSUM + "A",
    "wrong checksum": GOOD_CHECKSUM[:-1] + ("A" if GOOD_CHECKSUM[-1] != "A" else "B"),
    "another case": GOOD_CHECKSUM.swapcase(),
    "not base 62": "dvt_live_" + "-" * 50,
    "full-width digits": "dvt_live_" + "\uff11" * 50,
    "not UTF-8": "dvt_live_\xff\xfe" + "A" * 48,
    "NUL": "dvt_live_\0" + "A" * 49,
    "newline": "dvt_live_" + "A" * 49 + "\n",
    "half a surrogate pair": "dvt_live_\ud800" + "A" * 49,
    "10 kB": "dvt_live_" + "A" * 10_000,
    "quotes": "dvt_live_' OR 1=1 --",
}


@pytest.mark.parametrize(
    "headers", [{"HTTP_AUTHORIZATION": "Bearer {}"}, {"HTTP_X_API_KEY": "{}"}], ids=["bearer", "x"]
)
def test_a_key_opens_a_view_in_one_query(headers: dict[str, str]) -> None:
    firm = make_firm()
    api_key, raw = make_key(firm)
    sent = {name: value.format(raw) for name, value in headers.items()}
    APIClient().get("/plain/", **sent)
    # The use has been noted; what is left is what each request costs.
    with CaptureQueriesContext(connection) as queries:
        answer = APIClient().get("/plain/", **sent)
    assert answer.status_code == 200
    assert answer.json() == {"user": f"apikey:{api_key.pk}", "organization": str(firm.pk)}
    (query,) = queries.captured_queries
    assert "hashed_key" in query["sql"]
    assert "used_networks" not in query["sql"]
    assert str(raw) not in query["sql"]


@pytest.mark.parametrize("way", BAD)
@pytest.mark.parametrize("header", ["HTTP_AUTHORIZATION", "HTTP_X_API_KEY"])
def test_every_bad_key_is_one_and_the_same_401(way: str, header: str) -> None:
    raw = BAD[way]()
    answer = APIClient().get("/open/", **{header: f"Bearer {raw}" if header == "HTTP_AUTHORIZATION" else raw})
    assert answer.status_code == 401
    assert answer.json() == {"detail": "Invalid API key."}
    assert answer["WWW-Authenticate"] == 'Bearer realm="api"'


@pytest.mark.parametrize(
    ("way", "header"),
    [(way, "HTTP_X_API_KEY") for way in MALFORMED]
    # Without our brand it may be another class's Bearer token.
    + [(way, "HTTP_AUTHORIZATION") for way, sent in MALFORMED.items() if sent.startswith("dvt_")],
)
def test_a_malformed_key_is_that_401_without_a_query(way: str, header: str) -> None:
    sent = f"Bearer {MALFORMED[way]}" if header == "HTTP_AUTHORIZATION" else MALFORMED[way]
    with CaptureQueriesContext(connection) as queries:
        answer = APIClient().get("/open/", **{header: sent})
    assert answer.status_code == 401
    assert answer.json() == {"detail": "Invalid API key."}
    assert answer["WWW-Authenticate"] == 'Bearer realm="api"'
    assert len(queries) == 0


@pytest.mark.parametrize(
    "sent", ["Bearer", "Bearer ", "bearer eyJ.e30.x", "Basic x", "dvt_live_x", "\xff\xfe", "\0", ""]
)
def test_what_is_no_key_of_ours_is_left_to_others(sent: str) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert APIClient().get("/open/", HTTP_AUTHORIZATION=sent).status_code == 200
        refused = APIClient().get("/plain/", HTTP_AUTHORIZATION=sent)
    assert refused.status_code == 401
    assert refused["WWW-Authenticate"] == 'Bearer realm="api"'
    assert len(queries) == 0


class Token(BaseAuthentication):
    """As simplejwt's: it refuses every Bearer token that it does not know."""

    def authenticate(self, request: Any) -> Any:
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if not header.startswith("Bearer "):
            return None
        if header != "Bearer a.b.c":
            raise AuthenticationFailed("Given token not valid for any token type")
        return Firm(pk=7, title="jwt"), "token"

    def authenticate_header(self, request: Any) -> str:
        return 'Bearer realm="jwt"'


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> Any:
    def put(*classes: type) -> None:
        monkeypatch.setattr(Plain, "authentication_classes", classes)

    # So that what is authenticated need not be a user.
    monkeypatch.setattr(Plain, "permission_classes", [])
    return put


def test_before_a_class_for_jwt_both_work(order: Any) -> None:
    order(APIKeyAuthentication, Token)
    _api_key, raw = make_key()
    assert bearer(raw).get("/plain/").json()["user"].startswith("apikey:")
    assert bearer("a.b.c").get("/plain/").json()["user"] == "7"
    assert bearer("x.y.z").get("/plain/").json()["detail"].startswith("Given token")
    assert bearer(GOOD_CHECKSUM).get("/plain/").json() == {"detail": "Invalid API key."}


def test_behind_one_a_key_still_works_in_its_own_header(order: Any) -> None:
    order(Token, APIKeyAuthentication)
    _api_key, raw = make_key()
    assert bearer(raw).get("/plain/").status_code == 401
    assert APIClient().get("/plain/", HTTP_X_API_KEY=raw).status_code == 200
    assert APIClient().get("/plain/", HTTP_X_API_KEY="x").json() == {"detail": "Invalid API key."}


def test_behind_sessions_a_bad_key_is_401_and_nobody_stays_403(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plain, "authentication_classes", [SessionAuthentication, APIKeyAuthentication])
    answer = bearer(GOOD_CHECKSUM).get("/plain/")
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, 'Bearer realm="api"')
    assert APIClient().get("/plain/").status_code == 403
    assert bearer(make_key()[1]).get("/plain/").status_code == 200


def test_scopes(django_user_model: Any) -> None:
    answers = {}
    for scopes in ((), ("orders:read",), ("orders:write",), ("orders:*",)):
        client = bearer(make_key(scopes=scopes)[1])
        answers[scopes] = [client.get("/orders/"), client.post("/orders/")]
    assert {scopes: [answer.status_code for answer in both] for scopes, both in answers.items()} == {
        (): [403, 403],
        ("orders:read",): [200, 403],
        ("orders:write",): [403, 200],
        ("orders:*",): [200, 200],
    }
    refused = answers["orders:read",][1]
    assert refused.data["detail"].code == "insufficient_scope"
    assert refused.json() == {"detail": "The API key needs the scope orders:write."}
    person = signed_in(django_user_model.objects.create_user("ada"))
    assert person.get("/orders/").status_code == 200


def test_machines_and_people(django_user_model: Any) -> None:
    key, person = bearer(make_key()[1]), signed_in(django_user_model.objects.create_user("ada"))
    assert [each.get("/machines/").status_code for each in (key, person)] == [200, 403]
    assert [each.get("/people/").status_code for each in (key, person)] == [403, 200]
    assert APIClient().get("/people/").status_code == APIClient().get("/machines/").status_code == 401


def test_a_key_expires_at_its_moment() -> None:
    api_key, raw = make_key(expires_at=timezone.now() + timedelta(hours=1))
    assert bearer(raw).get("/plain/").status_code == 200
    type(api_key).objects.update(expires_at=timezone.now() - timedelta(microseconds=1))
    assert bearer(raw).get("/plain/").status_code == 401


@pytest.mark.parametrize(
    ("allowed", "address", "status"),
    [
        (["10.0.0.0/8"], "10.1.2.3", 200),
        (["10.0.0.0/8"], "11.1.2.3", 401),
        (["192.0.2.1"], "192.0.2.1", 200),
        (["192.0.2.1"], "::ffff:192.0.2.1", 200),
        (["2001:db8::/32"], "2001:db8::7", 200),
        (["2001:db8::/32"], "10.0.0.1", 401),
        (["10.0.0.0/8"], "", 401),
        (["10.0.0.0/8", "2001:db8::/32"], "2001:db8::7", 200),
    ],
)
def test_networks(allowed: list[str], address: str, status: int) -> None:
    _api_key, raw = make_key(allowed_networks=allowed)
    answer = bearer(raw).get("/plain/", REMOTE_ADDR=address)
    assert answer.status_code == status
    spoofed = bearer(raw).get("/plain/", REMOTE_ADDR="203.0.113.9", HTTP_X_FORWARDED_FOR=address)
    assert spoofed.status_code == 401


def test_behind_a_trusted_proxy_the_clients_address_counts(settings: Any) -> None:
    settings.DOVETAIL_TRUSTED_PROXIES = ["127.0.0.1"]
    _api_key, raw = make_key(allowed_networks=["10.0.0.0/8"])
    assert bearer(raw).get("/plain/", HTTP_X_FORWARDED_FOR="10.0.0.7").status_code == 200
    assert bearer(raw).get("/plain/", HTTP_X_FORWARDED_FOR="10.0.0.7, 203.0.113.9").status_code == 401


def test_rotating_the_projects_secret_key_leaves_keys_good(settings: Any) -> None:
    _api_key, raw = make_key()
    settings.SECRET_KEY = "another-secret-key-of-more-than-32-characters"
    assert bearer(raw).get("/plain/").status_code == 200


def test_a_brand_that_has_changed_leaves_keys_good_that_are_out(settings: Any) -> None:
    _api_key, raw = make_key()
    settings.API_KEYS_BRAND, settings.API_KEYS_ENVIRONMENT = "acme", "prod"
    assert bearer(raw).get("/open/").json()["user"] == "None"
    settings.API_KEYS_FORMER_BRANDS = ["dvt"]
    assert bearer(raw).get("/plain/").status_code == 200
    _api_key, raw = make_key()
    assert raw.startswith("acme_prod_")
    assert bearer(raw).get("/plain/").status_code == 200


def test_the_header_is_a_setting(settings: Any) -> None:
    _api_key, raw = make_key()
    settings.API_KEYS_HEADER = "X-Machine"
    assert APIClient().get("/plain/", HTTP_X_MACHINE=raw).status_code == 200
    assert APIClient().get("/plain/", HTTP_X_API_KEY=raw).status_code == 401
    settings.API_KEYS_HEADER = ""
    assert APIClient().get("/open/", HTTP_X_API_KEY="anything").status_code == 200


def test_a_condition_of_the_projects_is_part_of_the_query(settings: Any) -> None:
    settings.API_KEYS_CONDITION = "tests.apikeys.conditions.firm_is_open"
    firm = make_firm()
    client = bearer(make_key(firm)[1])
    client.get("/plain/")
    with CaptureQueriesContext(connection) as queries:
        assert client.get("/plain/").status_code == 200
    assert len(queries) == 1
    Firm.objects.update(closed=True)
    assert client.get("/plain/").status_code == 401
    settings.API_KEYS_CONDITION = "tests.apikeys.conditions.nothing"
    assert client.get("/plain/").status_code == 401


def test_acting_for_the_one_who_made_the_key(settings: Any, django_user_model: Any) -> None:
    settings.API_KEYS_PRINCIPAL = "dovetail_apikeys.principal.creator"
    ada = django_user_model.objects.create_user("ada")
    client = bearer(make_key(created_by=ada)[1])
    assert client.get("/plain/").json()["user"] == str(ada.pk)
    assert client.get("/people/").status_code == 403
    assert bearer(make_key()[1]).get("/plain/").status_code == 401
    django_user_model.objects.update(is_active=False)
    assert client.get("/plain/").status_code == 401


def test_refusals_are_in_the_language_of_the_request_whatever_the_projects(settings: Any) -> None:
    settings.LANGUAGE_CODE = "de"
    _api_key, raw = make_key()
    for language, invalid, scope in (
        ("de", "Ungültiger API-Schlüssel.", "Der API-Schlüssel braucht die Berechtigung orders:read."),
        ("en", "Invalid API key.", "The API key needs the scope orders:read."),
    ):
        with translation.override(language):
            assert bearer(GOOD_CHECKSUM).get("/plain/").json()["detail"] == invalid
            assert bearer(raw).get("/orders/").json()["detail"] == scope
