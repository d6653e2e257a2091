"""Behavior of all requests: throttle rates, CORS, hosts, HTTPS."""

from __future__ import annotations

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.test import Client
from rest_framework.settings import api_settings

from dovetail_contract.testing import unchecked
from tests.composed import factories
from tests.composed.processes import PRODUCTION, settings

LOGIN = "/api/auth/jwt/token/"


@pytest.fixture
def rate(settings):
    def set_rate(**rates):
        settings.CONTRACT_RATE_LIMITS = rates

    return set_rate


def test_throttle_rates_come_from_environment():
    defaults = settings("REST_FRAMEWORK", **PRODUCTION)["REST_FRAMEWORK"]
    rates = {"anon": "60/min", "user": "600/min", "magic": "5/min", "admin": "600/min"}
    assert defaults["DEFAULT_THROTTLE_RATES"] == rates
    overridden = settings("REST_FRAMEWORK", THROTTLE_ANON="7/day", **PRODUCTION)["REST_FRAMEWORK"]
    assert overridden["DEFAULT_THROTTLE_RATES"] == {**rates, "anon": "7/day"}


@pytest.mark.django_db
def test_password_guesses_are_limited_despite_forwarded_for(rate):
    rate(anon="3/hour")
    wrong = {"email": "nobody@example.com", "password": "guess"}
    statuses = [
        Client().post(LOGIN, wrong, "application/json", headers={"x-forwarded-for": f"203.0.113.{attempt}"}).status_code
        for attempt in range(4)
    ]
    assert statuses == [401, 401, 401, 429]


@pytest.mark.django_db
def test_admin_site_limits_password_guesses(monkeypatch):
    evaluations = []
    monkeypatch.setattr(MD5PasswordHasher, "verify", lambda *arguments: evaluations.append(arguments) or False)
    staff = factories.user(is_staff=True)
    wrong = {"username": staff.email, "password": "guess"}
    statuses = [Client().post("/django-admin/login/", wrong).status_code for _ in range(40)]
    assert statuses == [200] * 10 + [429] * 30
    assert len(evaluations) == 10
    # The API shares the budget of the account.
    answer = Client().post(LOGIN, {"email": staff.email, "password": "guess"}, "application/json")
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert 0 < int(answer["Retry-After"]) <= 900


@pytest.mark.django_db
def test_clients_behind_trusted_proxy_are_limited_separately(rate, settings):
    settings.DOVETAIL_TRUSTED_PROXIES = ["127.0.0.1"]
    rate(anon="1/hour")
    for address in ("203.0.113.1", "203.0.113.2"):
        answer = Client().post(LOGIN, {}, "application/json", headers={"x-forwarded-for": address})
        assert answer.status_code == 400
    answer = Client().post(LOGIN, {}, "application/json", headers={"x-forwarded-for": "203.0.113.1"})
    assert (answer.status_code, int(answer["Retry-After"]) > 0) == (429, True)


def test_throttle_applies_per_user(api, rate):
    rate(user="2/hour")
    assert [api.get("/api/v1/me").status_code for _ in range(3)] == [200, 200, 429]


def test_cors_exposes_documented_headers(api):
    origin = {"HTTP_ORIGIN": "https://app.example.com"}
    answer = api.get("/api/v1/customers", **origin)
    assert answer["Access-Control-Allow-Origin"] == "https://app.example.com"
    exposed = answer["Access-Control-Expose-Headers"].split(", ")
    assert {"Link", "Retry-After", "X-Request-ID", "RateLimit", "Idempotent-Replayed"} <= set(exposed)
    preflight_headers = {
        "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST",
        "HTTP_ACCESS_CONTROL_REQUEST_HEADERS": "x-organization-id",
    }
    preflight = Client().options("/api/v1/customers", **origin, **preflight_headers)
    assert "x-organization-id" in preflight["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Origin" not in api.get("/api/v1/customers", HTTP_ORIGIN="https://evil.example")
    assert "Access-Control-Allow-Origin" not in Client().get("/django-admin/login/", **origin)


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/api/v1/me", "/api/v1/organizations", "/api/v1/customers", "/api/v1/invoices"])
def test_anonymous_request_is_401_with_challenge(path):
    answer = Client().get(path)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.django_db
def test_trailing_slash_is_not_added():
    with unchecked():
        assert Client().get("/api/v1/customers/").status_code == 404
        assert Client().get("/api/docs").status_code == 404


def test_api_accepts_and_renders_only_json(api):
    assert [renderer.format for renderer in api_settings.DEFAULT_RENDERER_CLASSES] == ["json"]
    assert api.get("/api/v1/me", HTTP_ACCEPT="text/html").status_code == 406
    assert api.post("/api/v1/customers", "a=b", content_type="application/x-www-form-urlencoded").status_code == 415


@pytest.mark.django_db
def test_unknown_host_is_400():
    assert Client().get("/api/v1/me", HTTP_HOST="evil.example").status_code == 400


@pytest.mark.django_db
def test_https_redirect_and_proxy_header(settings):
    settings.SECURE_SSL_REDIRECT = True
    forwarded = {"HTTP_X_FORWARDED_PROTO": "https"}
    with unchecked():
        assert Client().get("/api/v1/me", **forwarded).status_code == 301
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert Client().get("/api/v1/me", **forwarded).status_code == 401


def test_proxy_header_is_opt_in():
    assert settings("SECURE_SSL_REDIRECT", "SECURE_HSTS_SECONDS", "SESSION_COOKIE_SECURE", **PRODUCTION) == {
        "SECURE_SSL_REDIRECT": True,
        "SECURE_HSTS_SECONDS": 31_536_000,
        "SESSION_COOKIE_SECURE": True,
    }
    trusted = settings("SECURE_PROXY_SSL_HEADER", DJANGO_TRUST_X_FORWARDED_PROTO="true", **PRODUCTION)
    assert trusted == {"SECURE_PROXY_SSL_HEADER": ["HTTP_X_FORWARDED_PROTO", "https"]}


@pytest.mark.django_db
def test_admin_site_is_for_staff_only():
    acme, globex = factories.organization(name="Acme"), factories.organization(name="Globex")
    for organization in (acme, globex):
        factories.invoice(organization, number=f"N-{organization.name}")
    staff = Client()
    staff.force_login(factories.user(is_staff=True, is_superuser=True))
    page = staff.get("/django-admin/billing/invoice/").content.decode()
    assert "N-Acme" in page
    assert "N-Globex" in page
    member = Client()
    member.force_login(acme.owner)
    assert member.get("/django-admin/billing/invoice/").status_code == 302
