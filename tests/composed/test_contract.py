"""The API conventions apply to all requests, even if services are unavailable."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
import time
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import OperationalError
from django.test import Client, override_settings
from drf_spectacular.generators import SchemaGenerator

from dovetail_contract.testing import unchecked
from tests.composed import factories
from tests.composed.processes import PRODUCTION, run, running

SIGN_IN = "/api/auth/jwt/token/"
MEMBERS = {"type", "title", "status", "detail", "instance", "code", "request_id", "errors"}


def shaped(answer, status, code):
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json"), answer.content
    body = answer.json()
    assert set(body) >= MEMBERS
    assert (body["code"], body["request_id"]) == (code, answer.headers["X-Request-ID"])
    assert status != 401 or "WWW-Authenticate" in answer.headers
    assert status not in (429, 503) or int(answer.headers["Retry-After"]) >= 1
    return body


@pytest.mark.django_db
def test_every_error_is_a_problem(api, organization, monkeypatch):
    nobody = Client(raise_request_exception=False)
    with unchecked():
        shaped(nobody.get("/api/v1/nowhere"), 404, "not_found")
        shaped(nobody.get("/api/v2/me"), 404, "version_unknown")
    shaped(nobody.get("/api/v1/me", headers={"host": "evil.example"}), 400, "host_not_allowed")
    shaped(nobody.get("/api/v1/me"), 401, "not_authenticated")
    # No class accepts a token that is not of a session.
    shaped(nobody.get("/api/v1/me", headers={"authorization": "Bearer x.y.z"}), 401, "not_authenticated")
    forged = api._credentials["HTTP_AUTHORIZATION"].rpartition(".")[0] + ".AAAA"
    shaped(nobody.get("/api/v1/me", headers={"authorization": forged}), 401, "token_not_valid")
    shaped(nobody.post(SIGN_IN, "{", "application/json"), 400, "parse_error")
    shaped(nobody.post(SIGN_IN, "a=b", "application/x-www-form-urlencoded"), 415, "unsupported_media_type")
    with unchecked():
        shaped(nobody.put(SIGN_IN, {}, "application/json"), 405, "method_not_allowed")
    shaped(api.get("/api/v1/me", headers={"accept": "text/html"}), 406, "not_acceptable")
    with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=10):
        shaped(nobody.post(SIGN_IN, {"email": "x" * 100}, "application/json"), 413, "payload_too_large")
    wrong = {"email": organization.owner.email, "password": "wrong"}
    shaped(nobody.post(SIGN_IN, wrong, "application/json"), 401, "no_active_account")

    def away(*args, **kwargs):
        raise OperationalError("database is locked") from sqlite3.OperationalError("database is locked")

    with monkeypatch.context() as patched:
        patched.setattr("billing.api.views.CustomerViewSet.list", away)
        shaped(api.get("/api/v1/customers"), 503, "unavailable")

    session = Client(enforce_csrf_checks=True)
    session.force_login(organization.owner)
    shaped(session.post("/api/v1/customers", {}, "application/json"), 403, "csrf_failed")

    def fail(*args, **kwargs):
        raise RuntimeError("postgres://root:secret@db")

    monkeypatch.setattr("billing.api.views.CustomerViewSet.list", fail)
    api.raise_request_exception = False
    answer = api.get("/api/v1/customers")
    shaped(answer, 500, "internal_error")
    assert b"secret" not in answer.content

    rates = {**settings.REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"], "user": "1/hour"}
    with override_settings(REST_FRAMEWORK={**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": rates}):
        api.get("/api/v1/me")
        shaped(api.get("/api/v1/me"), 429, "rate_limited")


def _gets(organization):
    """Yield every GET operation of the schema, with the path of an existing or unknown object."""
    schema = SchemaGenerator().get_schema(request=None, public=True)
    for path, item in schema["paths"].items():
        # An endless stream, which is 501 under WSGI.
        if "get" in item and not path.endswith("/stream"):
            known = path.replace("{organization_id}", str(organization.pk))
            parameters = [
                schema["components"]["parameters"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
                for part in item["get"].get("parameters", [])
            ]
            yield re.sub(r"\{\w+\}", str(uuid4()), known), {part["name"] for part in parameters}


def test_every_list_rejects_repeated_parameters(api, organization):
    lists = []
    for path, parameters in _gets(organization):
        for name in {"limit", "cursor"} & parameters:
            lists.append(path)
            with unchecked():
                answer = api.get(f"{path}?{name}=1&{name}=2")
            body = shaped(answer, 400, answer.json()["code"])
            assert [error["parameter"] for error in body["errors"]] == [name], (path, body)
            assert api.get(f"{path}?limit=2").status_code == 200
    assert len(lists) >= 16


def test_every_response_varies_and_is_not_stored(api, organization):
    """No response had ``Cache-Control``, and none named the credential or the organization in ``Vary``."""
    for path, parameters in _gets(organization):
        with unchecked():
            answer = api.get(path)
        assert answer.status_code in {200, 400, 404}, (path, answer.content)
        # Browsers store the flags of a person, and send their ETag with each poll.
        stored = "private, no-cache" if path == "/api/v1/features" else "no-store"
        assert answer.headers["Cache-Control"] == stored, path
        vary = {name.lower() for name in re.split(r",\s*", answer.headers["Vary"])}
        assert vary >= {"accept-language", "authorization", "x-api-key", "cookie"}, (path, vary)
        # An object of the user alone, such as a notification, is found without the header.
        selects = "X-Organization-ID" in parameters and "notification_id" not in parameters
        assert ("x-organization-id" in vary) is selects, (path, vary)


@pytest.mark.django_db
def test_sign_in_errors_keep_documented_body():
    answer = Client().post("/api/auth/email/verify/", {"token": "x"}, "application/json")
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_or_expired"})


@pytest.mark.django_db
def test_every_error_code_has_a_page():
    nothing = factories.client(factories.user()).get("/api/v1/customers")
    body = shaped(nothing, 400, "organization_required")
    assert Client().get(body["type"]).json()["title"] == body["title"]


@pytest.mark.django_db
def test_api_responses_have_rate_limit_headers(api):
    for path in ("/api/v1/me", "/api/v1/organizations", "/api/v1/customers", "/api/v1/invoices", "/api/v1/me/sessions"):
        answer = api.get(path)
        assert answer.status_code == 200
        assert answer.headers["RateLimit-Policy"] == '"user";q=100000;w=60'
        assert set(answer.json()) == {"data", "meta"} or path.endswith("/me")


def test_unavailable_database_is_503():
    code = """
import django; django.setup()
from django.test import Client
client = Client(raise_request_exception=False, headers={"host": "api.example.com"})
answer = client.post("/api/auth/jwt/token/", {"email": "a@b.c", "password": "x"}, "application/json", secure=True)
print(answer.status_code, answer.headers["Retry-After"], answer.headers["Content-Type"], answer.json()["code"])
assert b"127.0.0.1" not in answer.content
"""
    down = {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing"}
    done = run("-c", code, DJANGO_SETTINGS_MODULE="example_project.settings", **PRODUCTION, **down)
    assert done.stdout == "503 5 application/problem+json unavailable\n", done.stderr


def test_request_and_its_task_log_one_request_id(with_broker, demo_database_url):
    variables = {"DJANGO_DEBUG": "true", "DATABASE_URL": demo_database_url, "LOG_FORMAT": "json", **with_broker}
    code = """
import django; django.setup()
from django.test import Client
body = {"email": "new@example.com", "password": "a-long-enough-password"}
headers = {"x-request-id": "from-the-client", "host": "localhost"}
answer = Client().post("/api/auth/register/", body, "application/json", headers=headers)
print(answer.status_code, answer.headers["X-Request-ID"])
"""
    worker = [sys.executable, "-m", "celery", "-A", "example_project", "worker", "-l", "info", "--concurrency", "1"]
    with running(*worker, **variables) as process:
        sent = run("-c", code, **variables)
        assert sent.stdout == "202 from-the-client\n", sent.stderr
        lines = []
        for _ in range(120):
            lines = [line for line in process.log.read_text().splitlines() if "from-the-client" in line]
            if lines:
                break
            time.sleep(0.5)
        output = process.log.read_text()
    assert lines, output
    assert {json.loads(line)["request_id"] for line in lines if line.startswith("{")} == {"from-the-client"}
