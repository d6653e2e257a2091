"""Sign-in by mail in the composed service, with identity's sessions and a throttle."""

from __future__ import annotations

import re
import sys
import time
from contextlib import nullcontext

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.test import Client
from rest_framework_simplejwt.settings import api_settings

from dovetail_magiclink.testing import mailed_code, mailed_key
from tests.composed import factories
from tests.composed.processes import call, free_port, manage, run, running, wait_until_up
from tests.composed.processes import settings as settings_of
from tests.magiclink.smtp import sink

REQUEST, VERIFY = "/api/auth/magic/request/", "/api/auth/magic/verify/"
PRODUCTION_HOST = {"DJANGO_SECRET_KEY": "x" * 50, "DJANGO_ALLOWED_HOSTS": "app.example.com"}


@pytest.fixture
def post(django_capture_on_commit_callbacks):
    def send(path, **body):
        with django_capture_on_commit_callbacks(execute=True):
            return Client().post(path, body, "application/json")

    return send


@pytest.mark.django_db
@pytest.mark.parametrize("way", ["code", "request", "link"])
def test_mail_signs_in_once(post, way):
    user = factories.user(email="ada@example.com")
    request_id = post(REQUEST, email="ADA@example.com").json()["request_id"]
    body = {
        "code": {"token": mailed_code()},
        "request": {"token": mailed_code(), "request_id": request_id},
        "link": {"token": mailed_code(), "k": mailed_key()},
    }[way]
    answer = post(VERIFY, **body)
    assert (answer.status_code, set(answer.json())) == (200, {"access", "refresh", "user"})
    assert answer.json()["user"]["id"] == str(user.pk)
    bearer = {"authorization": f"Bearer {answer.json()['access']}"}
    assert Client().get("/api/v1/me", headers=bearer).json()["email"] == "ada@example.com"
    assert len(Client().get("/api/v1/me/sessions", headers=bearer).json()["data"]) == 1
    user.refresh_from_db()
    assert user.last_login is not None
    again = post(VERIFY, **body)
    assert (again.status_code, again.content) == (400, b'{"error":"invalid_or_expired"}')


@pytest.mark.django_db
@pytest.mark.parametrize("issuer", [None, "dovetail_identity.services.issue_tokens"])
def test_user_whom_identity_rejects_gets_response_of_wrong_proof(post, settings, monkeypatch, issuer):
    factories.user(email="ada@example.com")
    # The default is identity's issuer, because the API authenticates by a subclass of identity's class.
    settings.MAGIC_LINK_TOKEN_ISSUER = issuer
    request_id = post(REQUEST, email="ada@example.com").json()["request_id"]
    body = {"token": mailed_code(), "request_id": request_id}
    with monkeypatch.context() as patch:
        patch.setattr(api_settings, "USER_AUTHENTICATION_RULE", lambda user: False)
        answer = post(VERIFY, **body)
        assert (answer.status_code, answer.content) == (400, b'{"error":"invalid_or_expired"}')
    assert set(post(VERIFY, **body).json()) == {"access", "refresh", "user"}


@pytest.mark.django_db
def test_verification_creates_account(post):
    assert post(REQUEST, email="new@example.com").status_code == 202
    assert not get_user_model().objects.exists()
    assert post(VERIFY, token=mailed_code()).status_code == 200
    created = get_user_model().objects.get()
    assert created.email == "new@example.com"
    assert created.email_verified_at is not None
    assert not created.has_usable_password()


@pytest.mark.django_db
def test_closed_registration_creates_no_account(post, settings):
    settings.MAGIC_LINK_SIGNUP = False
    assert post(REQUEST, email="new@example.com").status_code == 202
    assert mail.outbox == []
    assert settings.IDENTITY_REGISTRATION is True


@pytest.mark.django_db
def test_magic_throttle_applies_per_network(post, settings):
    # Per day, so that the limit does not reset during the test.
    settings.CONTRACT_RATE_LIMITS = {"magic": "5/day"}
    statuses = [post(VERIFY, token="12345678").status_code for _ in range(6)]
    assert statuses == [400] * 5 + [429]
    # Other endpoints have separate limits.
    assert post("/api/auth/jwt/token/", email="x@example.com", password="x").status_code == 401


def test_variables_configure_magic_links():
    names = [f"MAGIC_LINK_{name}" for name in ("VERIFY_URL", "EXPIRY_MINUTES", "DEBUG_ECHO_TOKEN", "SIGNUP")]
    defaults = settings_of(*names, **PRODUCTION_HOST)
    assert list(defaults.values()) == ["", 15, False, True]
    overridden = settings_of(
        *names,
        MAGIC_LINK_VERIFY_URL="https://other.example.com",
        MAGIC_LINK_EXPIRY_MINUTES="10",
        MAGIC_LINK_DEBUG_ECHO_TOKEN="true",
        REGISTRATION_ENABLED="false",
        **PRODUCTION_HOST,
    )
    assert list(overridden.values()) == ["https://other.example.com", 10, True, False]


def test_deployment_check_rejects_debug_echo():
    done = manage("check", "--deploy", MAGIC_LINK_DEBUG_ECHO_TOKEN="true", **PRODUCTION_HOST)
    assert done.returncode != 0
    assert "dovetail_magiclink.E004" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("manage.py", "migrate", "--check"),
        ("-c", "import example_project.wsgi"),
        ("-c", "import example_project.asgi"),
    ],
)
def test_production_without_page_of_links_does_not_start(arguments):
    done = run(*arguments, **PRODUCTION_HOST, DATABASE_URL="sqlite://:memory:")
    assert done.returncode != 0
    assert "MAGIC_LINK_VERIFY_URL is not set" in done.stderr


def _sign_in_through_a_mail_server(database_url, broker=None):
    with sink() as server:
        variables = {
            "DJANGO_DEBUG": "true",
            "DATABASE_URL": database_url,
            "EMAIL_PROVIDER": "smtp",
            "EMAIL_HOST": "127.0.0.1",
            "EMAIL_PORT": str(server.port),
            "EMAIL_USE_TLS": "false",
            "DEFAULT_FROM_EMAIL": "no-reply@example.com",
            **(broker or {}),
        }
        port = free_port()
        base = f"http://127.0.0.1:{port}"
        with running(sys.executable, "serve.py", PORT=str(port), **variables) as service:
            wait_until_up(service, port)
            status, response = call("POST", f"{base}{REQUEST}", {"email": "ada@example.com"})
            assert (status, set(response)) == (202, {"request_id"}), response
            worker = [sys.executable, "-m", "celery", "-A", "example_project", "worker", "--concurrency", "1"]
            if broker:
                time.sleep(1)
                assert server.recipients == []
            with running(*worker, **variables) if broker else nullcontext():
                for _ in range(600):
                    if server.messages:
                        break
                    time.sleep(0.1)
            assert server.recipients == ["ada@example.com"]
            (message,) = server.messages
            (code,) = re.findall(r"^[0-9]{8}\r?$", str(message.get_body(("plain",)).get_content()), re.MULTILINE)
            status, answer = call("POST", f"{base}{VERIFY}", {"token": code.strip()})
            assert (status, set(answer)) == (200, {"access", "refresh", "user"}), answer
            assert call("POST", f"{base}{VERIFY}", {"token": code.strip()}) == (400, {"error": "invalid_or_expired"})


def test_mail_without_broker_is_sent_by_thread(demo_database_url):
    _sign_in_through_a_mail_server(demo_database_url)


def test_mail_with_broker_is_sent_by_worker(with_broker, demo_database_url):
    _sign_in_through_a_mail_server(demo_database_url, with_broker)
