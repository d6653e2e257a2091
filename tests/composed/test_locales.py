"""The language and the time zone of requests."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from asgiref.sync import async_to_sync
from django.core.management import get_commands, load_command_class
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from billing.models import Customer
from dovetail_contract.testing import unchecked
from dovetail_tenancy import unscoped
from tests.composed import factories
from tests.composed.processes import PRODUCTION, settings

CUSTOMERS = "/api/v1/customers"
REQUIRED = {"en": "This field is required.", "de": "Dieses Feld ist zwingend erforderlich."}


def errors(response):
    assert response.status_code == 400, response.content
    return [(error["code"], error["pointer"], error["detail"]) for error in response.json()["errors"]]


def required(language):
    return [("required", "#/name", REQUIRED[language]), ("required", "#/email", REQUIRED[language])]


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("de", "de"), ("de-AT,en;q=0.5", "de"), ("fr,de;q=0.5", "de"), ("fr", "en"), ("*", "en"), ("no language", "en")],
)
def test_accept_language_translates_texts_and_keeps_codes(api, accepted, language):
    response = api.post(CUSTOMERS, {}, HTTP_ACCEPT_LANGUAGE=accepted)
    assert errors(response) == required(language)
    assert response.json()["code"] == "invalid"
    assert response.headers["Content-Language"] == language
    assert "Accept-Language" in response.headers["Vary"]


@pytest.mark.django_db
@pytest.mark.parametrize(("accepted", "title"), [("de", "Unbekannte API-Version"), ("en", "Unknown API version")])
def test_refusals_before_the_view_are_translated(accepted, title):
    """They were in LANGUAGE_CODE, because the language was chosen after them."""
    with unchecked():
        response = Client().get("/api/v2/me", headers={"accept-language": accepted})
    assert (response.json()["code"], response.json()["title"]) == ("version_unknown", title)
    assert response.headers["Content-Language"] == accepted


def test_static_files_have_no_language():
    """Caches stored each file once for each value of Accept-Language."""
    response = Client().get("/static/console/console.css", headers={"accept-language": "de"})
    assert b"{" in b"".join(response)  # closes the file
    assert "Accept-Language" not in response.headers.get("Vary", "")
    assert "Content-Language" not in response.headers


@pytest.mark.django_db
def test_rate_limits_before_sign_in_are_translated(settings):
    settings.CONTRACT_RATE_LIMIT_FLOOD = "1/hour"
    with unchecked():
        titles = [Client().get("/api/v1/me", headers={"accept-language": "de"}).json()["title"] for _ in range(2)]
    assert titles[1] == "Zu viele Anfragen"


def test_users_language_applies_without_accept_language(api, owner):
    owner.language = "de"
    owner.save()
    response = api.post(CUSTOMERS, {})
    assert errors(response) == required("de")
    assert response.headers["Content-Language"] == "de"
    assert errors(api.post(CUSTOMERS, {}, HTTP_ACCEPT_LANGUAGE="en")) == required("en")
    assert errors(factories.client(factories.organization().owner).post(CUSTOMERS, {})) == required("en")


@pytest.mark.parametrize("language", ["", "fr", "xx"])
def test_users_language_without_catalogue_is_ignored(api, owner, language):
    type(owner).objects.filter(pk=owner.pk).update(language=language)
    assert errors(api.post(CUSTOMERS, {})) == required("en")


def test_language_of_request_is_reset_afterwards(api, owner, monkeypatch):
    owner.language = "de"
    owner.save()
    for headers in ({}, {"HTTP_ACCEPT_LANGUAGE": "de"}):
        assert errors(api.post(CUSTOMERS, {}, **headers)) == required("de")
        assert translation.get_language() == "en"
    monkeypatch.setattr("billing.services.create_customer", lambda **fields: 1 / 0)
    api.raise_request_exception = False
    with unchecked():
        response = api.post(CUSTOMERS, {"name": "Milton", "email": "m@example.com"}, HTTP_ACCEPT_LANGUAGE="de")
    assert response.status_code == 500
    assert translation.get_language() == "en"


def test_async_requests_use_and_reset_the_language(api, owner):
    owner.language = "de"
    owner.save()
    authorization = {"authorization": api._credentials["HTTP_AUTHORIZATION"]}

    async def request(**headers):
        response = await AsyncClient().post(CUSTOMERS, {}, "application/json", headers=authorization | headers)
        return response, translation.get_language()

    for headers, language in (({}, "de"), ({"accept-language": "en"}, "en"), ({"accept-language": "de"}, "de")):
        response, active = async_to_sync(request)(**headers)
        assert errors(response) == required(language)
        assert response.headers["Content-Language"] == language
        assert active == "en"


def test_language_costs_no_query(api, owner):
    counts = []
    for language in ("", "de"):
        type(owner).objects.filter(pk=owner.pk).update(language=language)
        with CaptureQueriesContext(connection) as queries:
            assert api.get("/api/v1/me").status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_api_writes_times_in_utc_in_every_time_zone(api, owner):
    owner.time_zone = "Asia/Tokyo"
    owner.save()
    assert api.get("/api/v1/me").json()["date_joined"].endswith("Z")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "hour"), [("Asia/Tokyo", "7:30 p.m."), ("", "10:30 a.m."), ("Europe/Atlantis", "10:30 a.m.")]
)
def test_admin_site_uses_the_users_time_zone(name, hour):
    customer = factories.customer(factories.organization())
    with unscoped(reason="set a time"):
        Customer.objects.filter(pk=customer.pk).update(created_at=datetime(2026, 1, 5, 10, 30, tzinfo=UTC))
    staff = Client()
    staff.force_login(factories.user(is_staff=True, is_superuser=True, time_zone=name))
    assert f"Jan. 5, 2026, {hour}" in staff.get("/django-admin/billing/customer/").content.decode()
    assert timezone.get_current_timezone_name() == "UTC"


@pytest.mark.django_db
def test_pages_do_not_read_the_session(client):
    with CaptureQueriesContext(connection) as queries:
        response = client.get("/problems")
    assert response.status_code == 200
    assert len(queries) == 0
    assert "Cookie" not in response.headers["Vary"]


@pytest.mark.django_db
def test_schema_is_english_for_every_client():
    english, german = (
        Client().get("/api/schema/", headers={"accept": "application/json", "accept-language": language}).json()
        for language in ("en", "de")
    )
    assert german == english


def test_purge_commands_name_their_rows_in_german():
    commands = [load_command_class(app, name) for name, app in get_commands().items() if name.startswith("purge_")]
    with translation.override("de"):
        rows = {name for command in commands for name, _ in command.purges()}
    assert rows == {
        "Anmeldelinks",
        "Benachrichtigungen",
        "Einladungen",
        "Idempotenz-Einträge",
        "abgelaufene Registrierungen",
        "abgelaufene Sitzungen",
    }


def test_language_and_time_zone_come_from_the_environment():
    names = ("LANGUAGE_CODE", "TIME_ZONE", "CELERY_TIMEZONE")
    assert settings(*names, **PRODUCTION) == {"LANGUAGE_CODE": "en", "TIME_ZONE": "UTC", "CELERY_TIMEZONE": "UTC"}
    assert settings(*names, LANGUAGE_CODE="de", TIME_ZONE="Europe/Berlin", **PRODUCTION) == {
        "LANGUAGE_CODE": "de",
        "TIME_ZONE": "Europe/Berlin",
        "CELERY_TIMEZONE": "Europe/Berlin",
    }
