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
from dovetail_apikeys.verification import verifiers
from tests.apikeys.factories import bearer, make_firm, make_key, signed_in
from tests.apikeys.firms.models import Firm
from tests.apikeys.firms.views import Plain

pytestmark = pytest.mark.django_db


def with_checksum(text: str) -> str:
    return text + verifiers.checksum(text)


UNKNOWN_KEY = with_checksum("dvt_live_" + "A" * 44)


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
    return with_checksum(api_key.key_prefix + "A" * 32)


INVALID = {
    "revoked": revoked,
    "expired": expired,
    "deleted": deleted,
    "another secret": forged,
    "unknown": lambda: UNKNOWN_KEY,
}
MALFORMED = {
    "empty": "",
    "brand alone": "dvt_",
    "no such brand": "sk_live_" + "A" * 50,
    "short": UNKNOWN_KEY[:-1],
    "long": UNKNOWN_KEY + "A",
    "wrong checksum": UNKNOWN_KEY[:-1] + ("A" if UNKNOWN_KEY[-1] != "A" else "B"),
    "another case": UNKNOWN_KEY.swapcase(),
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
    "headers",
    [{"HTTP_AUTHORIZATION": "Bearer {}"}, {"HTTP_AUTHORIZATION": "bEARER {}"}, {"HTTP_X_API_KEY": "{}"}],
    ids=["bearer", "any case", "x"],
)
def test_key_authenticates_in_one_query(headers: dict[str, str]) -> None:
    firm = make_firm()
    api_key, raw = make_key(firm)
    sent = {name: value.format(raw) for name, value in headers.items()}
    APIClient().get("/plain/", **sent)
    # The first request has recorded the use, so the second takes only the query of each request.
    with CaptureQueriesContext(connection) as queries:
        response = APIClient().get("/plain/", **sent)
    assert response.status_code == 200
    assert response.json() == {"user": f"apikey:{api_key.pk}", "organization": str(firm.pk)}
    (query,) = queries.captured_queries
    assert "hashed_key" in query["sql"]
    assert "used_networks" not in query["sql"]
    assert str(raw) not in query["sql"]


@pytest.mark.parametrize("way", INVALID)
@pytest.mark.parametrize("header", ["HTTP_AUTHORIZATION", "HTTP_X_API_KEY"])
def test_every_invalid_key_gets_the_same_401(way: str, header: str) -> None:
    raw = INVALID[way]()
    response = APIClient().get("/open/", **{header: f"Bearer {raw}" if header == "HTTP_AUTHORIZATION" else raw})
    assert response.status_code == 401
    assert response.json() == {"detail": "Invalid API key."}
    assert response["WWW-Authenticate"] == 'Bearer realm="api"'


@pytest.mark.parametrize(
    ("way", "header"),
    [(way, "HTTP_X_API_KEY") for way in MALFORMED]
    # A Bearer token without our brand is left to other classes.
    + [(way, "HTTP_AUTHORIZATION") for way, sent in MALFORMED.items() if sent.startswith("dvt_")],
)
def test_malformed_key_is_401_without_a_query(way: str, header: str) -> None:
    sent = f"Bearer {MALFORMED[way]}" if header == "HTTP_AUTHORIZATION" else MALFORMED[way]
    with CaptureQueriesContext(connection) as queries:
        response = APIClient().get("/open/", **{header: sent})
    assert response.status_code == 401
    assert response.json() == {"detail": "Invalid API key."}
    assert response["WWW-Authenticate"] == 'Bearer realm="api"'
    assert len(queries) == 0


@pytest.mark.parametrize(
    "sent", ["Bearer", "Bearer ", "bearer eyJ.e30.x", "Basic x", "dvt_live_x", "\xff\xfe", "\0", ""]
)
def test_other_credentials_are_left_to_other_classes(sent: str) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert APIClient().get("/open/", HTTP_AUTHORIZATION=sent).status_code == 200
        response = APIClient().get("/plain/", HTTP_AUTHORIZATION=sent)
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == 'Bearer realm="api"'
    assert len(queries) == 0


class TokenAuthentication(BaseAuthentication):
    """Reject all unknown Bearer tokens, as simplejwt does."""

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

    # Without permissions, the authenticated object need not be a user.
    monkeypatch.setattr(Plain, "permission_classes", [])
    return put


def test_keys_and_jwt_work_with_api_keys_first(order: Any) -> None:
    order(APIKeyAuthentication, TokenAuthentication)
    _api_key, raw = make_key()
    assert bearer(raw).get("/plain/").json()["user"].startswith("apikey:")
    assert bearer("a.b.c").get("/plain/").json()["user"] == "7"
    assert bearer("x.y.z").get("/plain/").json()["detail"].startswith("Given token")
    assert bearer(UNKNOWN_KEY).get("/plain/").json() == {"detail": "Invalid API key."}


def test_key_header_works_with_jwt_first(order: Any) -> None:
    order(TokenAuthentication, APIKeyAuthentication)
    _api_key, raw = make_key()
    assert bearer(raw).get("/plain/").status_code == 401
    assert APIClient().get("/plain/", HTTP_X_API_KEY=raw).status_code == 200
    assert APIClient().get("/plain/", HTTP_X_API_KEY="x").json() == {"detail": "Invalid API key."}


def test_with_sessions_first_invalid_key_is_401_and_anonymous_403(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plain, "authentication_classes", [SessionAuthentication, APIKeyAuthentication])
    response = bearer(UNKNOWN_KEY).get("/plain/")
    assert (response.status_code, response["WWW-Authenticate"]) == (401, 'Bearer realm="api"')
    assert APIClient().get("/plain/").status_code == 403
    assert bearer(make_key()[1]).get("/plain/").status_code == 200


def test_scopes_allow_methods(django_user_model: Any) -> None:
    responses = {}
    for scopes in ((), ("orders:read",), ("orders:write",), ("orders:*",)):
        client = bearer(make_key(scopes=scopes)[1])
        responses[scopes] = [client.get("/orders/"), client.post("/orders/")]
    assert {scopes: [response.status_code for response in both] for scopes, both in responses.items()} == {
        (): [403, 403],
        ("orders:read",): [200, 403],
        ("orders:write",): [403, 200],
        ("orders:*",): [200, 200],
    }
    forbidden = responses["orders:read",][1]
    assert forbidden.data["detail"].code == "insufficient_scope"
    assert forbidden.json() == {"detail": "The API key lacks the required scope orders:write."}
    user = signed_in(django_user_model.objects.create_user("ada"))
    assert user.get("/orders/").status_code == 200


def test_views_for_keys_or_users_only(django_user_model: Any) -> None:
    key, user = bearer(make_key()[1]), signed_in(django_user_model.objects.create_user("ada"))
    assert [client.get("/machines/").status_code for client in (key, user)] == [200, 403]
    assert [client.get("/people/").status_code for client in (key, user)] == [403, 200]
    assert APIClient().get("/people/").status_code == APIClient().get("/machines/").status_code == 401


def test_expired_key_is_401() -> None:
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
def test_allowed_networks_restrict_the_address(allowed: list[str], address: str, status: int) -> None:
    _api_key, raw = make_key(allowed_networks=allowed)
    response = bearer(raw).get("/plain/", REMOTE_ADDR=address)
    assert response.status_code == status
    spoofed = bearer(raw).get("/plain/", REMOTE_ADDR="203.0.113.9", HTTP_X_FORWARDED_FOR=address)
    assert spoofed.status_code == 401


def test_trusted_proxy_supplies_the_client_address(settings: Any) -> None:
    settings.DOVETAIL_TRUSTED_PROXIES = ["127.0.0.1"]
    _api_key, raw = make_key(allowed_networks=["10.0.0.0/8"])
    assert bearer(raw).get("/plain/", HTTP_X_FORWARDED_FOR="10.0.0.7").status_code == 200
    assert bearer(raw).get("/plain/", HTTP_X_FORWARDED_FOR="10.0.0.7, 203.0.113.9").status_code == 401


def test_keys_survive_rotation_of_secret_key(settings: Any) -> None:
    _api_key, raw = make_key()
    settings.SECRET_KEY = "another-secret-key-of-more-than-32-characters"
    assert bearer(raw).get("/plain/").status_code == 200


def test_former_brands_stay_valid(settings: Any) -> None:
    _api_key, raw = make_key()
    settings.API_KEYS_BRAND, settings.API_KEYS_ENVIRONMENT = "acme", "prod"
    assert bearer(raw).get("/open/").json()["user"] == "None"
    settings.API_KEYS_FORMER_BRANDS = ["dvt"]
    assert bearer(raw).get("/plain/").status_code == 200
    _api_key, raw = make_key()
    assert raw.startswith("acme_prod_")
    assert bearer(raw).get("/plain/").status_code == 200


def test_header_is_configurable(settings: Any) -> None:
    _api_key, raw = make_key()
    settings.API_KEYS_HEADER = "X-Machine"
    assert APIClient().get("/plain/", HTTP_X_MACHINE=raw).status_code == 200
    assert APIClient().get("/plain/", HTTP_X_API_KEY=raw).status_code == 401
    settings.API_KEYS_HEADER = ""
    assert APIClient().get("/open/", HTTP_X_API_KEY="anything").status_code == 200


def test_condition_is_part_of_the_query(settings: Any) -> None:
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


def test_creator_principal_acts_for_the_creator(settings: Any, django_user_model: Any) -> None:
    settings.API_KEYS_PRINCIPAL = "dovetail_apikeys.principal.creator"
    ada = django_user_model.objects.create_user("ada")
    client = bearer(make_key(created_by=ada)[1])
    assert client.get("/plain/").json()["user"] == str(ada.pk)
    assert client.get("/people/").status_code == 403
    assert bearer(make_key()[1]).get("/plain/").status_code == 401
    django_user_model.objects.update(is_active=False)
    assert client.get("/plain/").status_code == 401


def test_errors_are_in_the_language_of_the_request(settings: Any) -> None:
    settings.LANGUAGE_CODE = "de"
    _api_key, raw = make_key()
    for language, invalid, scope in (
        ("de", "Ungültiger API-Schlüssel.", "Dem API-Schlüssel fehlt die erforderliche Berechtigung orders:read."),
        ("en", "Invalid API key.", "The API key lacks the required scope orders:read."),
    ):
        with translation.override(language):
            assert bearer(UNKNOWN_KEY).get("/plain/").json()["detail"] == invalid
            assert bearer(raw).get("/orders/").json()["detail"] == scope
