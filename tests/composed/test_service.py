"""What holds for every request: rates, CORS, hosts, the shape of refusals."""

from __future__ import annotations

import pytest
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


def test_rates_have_sensible_defaults_and_come_from_the_environment():
    found = settings("REST_FRAMEWORK", **PRODUCTION)["REST_FRAMEWORK"]
    assert found["DEFAULT_THROTTLE_RATES"] == {"anon": "60/min", "user": "600/min", "magic": "5/min"}
    given = settings("REST_FRAMEWORK", THROTTLE_ANON="7/day", **PRODUCTION)["REST_FRAMEWORK"]
    assert given["DEFAULT_THROTTLE_RATES"] == {"anon": "7/day", "user": "600/min", "magic": "5/min"}


@pytest.mark.django_db
def test_guessing_passwords_is_limited_whatever_address_the_client_claims(rate):
    rate(anon="3/hour")
    wrong = {"email": "nobody@example.com", "password": "guess"}
    statuses = [
        Client().post(LOGIN, wrong, "application/json", headers={"x-forwarded-for": f"203.0.113.{attempt}"}).status_code
        for attempt in range(4)
    ]
    assert statuses == [401, 401, 401, 429]


@pytest.mark.django_db
def test_behind_a_trusted_proxy_each_client_has_its_own_limit(rate, settings):
    settings.DOVETAIL_TRUSTED_PROXIES = ["127.0.0.1"]
    rate(anon="1/hour")
    for address in ("203.0.113.1", "203.0.113.2"):
        answer = Client().post(LOGIN, {}, "application/json", headers={"x-forwarded-for": address})
        assert answer.status_code == 400
    answer = Client().post(LOGIN, {}, "application/json", headers={"x-forwarded-for": "203.0.113.1"})
    assert (answer.status_code, int(answer["Retry-After"]) > 0) == (429, True)


def test_a_signed_in_user_is_limited_as_one(api, rate):
    rate(user="2/hour")
    assert [api.get("/api/v1/me").status_code for _ in range(3)] == [200, 200, 429]


def test_a_browser_app_reads_the_documented_headers(api):
    origin = {"HTTP_ORIGIN": "https://app.example.com"}
    answer = api.get("/api/v1/customers", **origin)
    assert answer["Access-Control-Allow-Origin"] == "https://app.example.com"
    exposed = answer["Access-Control-Expose-Headers"].split(", ")
    assert {"Link", "Retry-After", "X-Request-ID", "RateLimit", "Idempotent-Replayed"} <= set(exposed)
    asked = {"HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST", "HTTP_ACCESS_CONTROL_REQUEST_HEADERS": "x-organization-id"}
    preflight = Client().options("/api/v1/customers", **origin, **asked)
    assert "x-organization-id" in preflight["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Origin" not in api.get("/api/v1/customers", HTTP_ORIGIN="https://evil.example")
    assert "Access-Control-Allow-Origin" not in Client().get("/django-admin/login/", **origin)


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/api/v1/me", "/api/v1/organizations", "/api/v1/customers", "/api/v1/invoices"])
def test_nobody_gets_401_and_the_challenge(path):
    answer = Client().get(path)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.django_db
def test_paths_have_no_trailing_slash_and_none_is_added():
    with unchecked():
        assert Client().get("/api/v1/customers/").status_code == 404
        assert Client().get("/api/docs").status_code == 404


def test_only_json_is_rendered_and_taken(api):
    assert [renderer.format for renderer in api_settings.DEFAULT_RENDERER_CLASSES] == ["json"]
    assert api.get("/api/v1/me", HTTP_ACCEPT="text/html").status_code == 406
    assert api.post("/api/v1/customers", "a=b", content_type="application/x-www-form-urlencoded").status_code == 415


@pytest.mark.django_db
def test_an_unknown_host_is_refused():
    assert Client().get("/api/v1/me", HTTP_HOST="evil.example").status_code == 400


@pytest.mark.django_db
def test_production_redirects_to_https_and_trusts_a_proxy_only_when_told(settings):
    settings.SECURE_SSL_REDIRECT = True
    forwarded = {"HTTP_X_FORWARDED_PROTO": "https"}
    with unchecked():
        assert Client().get("/api/v1/me", **forwarded).status_code == 301
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert Client().get("/api/v1/me", **forwarded).status_code == 401


def test_the_proxy_header_is_opt_in():
    assert settings("SECURE_SSL_REDIRECT", "SECURE_HSTS_SECONDS", "SESSION_COOKIE_SECURE", **PRODUCTION) == {
        "SECURE_SSL_REDIRECT": True,
        "SECURE_HSTS_SECONDS": 31_536_000,
        "SESSION_COOKIE_SECURE": True,
    }
    trusted = settings("SECURE_PROXY_SSL_HEADER", DJANGO_TRUST_X_FORWARDED_PROTO="true", **PRODUCTION)
    assert trusted == {"SECURE_PROXY_SSL_HEADER": ["HTTP_X_FORWARDED_PROTO", "https"]}


@pytest.mark.django_db
def test_the_admin_site_shows_staff_every_organization_and_others_nothing():
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
