from __future__ import annotations

import os
import subprocess
import sys
import uuid
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.checks import run_checks
from django.db import models
from django.test.utils import isolate_apps

from dovetail_notify import NotificationType, Rendered, checks, transports
from dovetail_notify.base import AbstractNotification
from dovetail_notify.transports.push.vapid import generate
from dovetail_notify.types import registry


def check_ids(**options: Any) -> set[str]:
    return {str(message.id) for message in run_checks(**options) if str(message.id).startswith("dovetail_notify")}


def test_valid_project_has_no_messages():
    assert check_ids(include_deployment_checks=True) == set()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NOTIFY_NOTIFICATION_MODEL", "Notification"),
        ("NOTIFY_TRANSPORTS", ["email"]),
        ("NOTIFY_TRANSPORTS", {"in_app": "x"}),
        ("NOTIFY_RUNNER", "nowhere.run"),
        ("NOTIFY_RUNNER", 5),
        ("NOTIFY_MEMBERS", 5),
        ("NOTIFY_SITE_URL", "app.example.com"),
        ("NOTIFY_UNSUBSCRIBE_URL", "https://api.example.com/unsubscribe"),
        ("NOTIFY_UNSUBSCRIBE_URL", 5),
        ("NOTIFY_BACKOFF_SECONDS", []),
        ("NOTIFY_BACKOFF_SECONDS", [0]),
        ("NOTIFY_BACKOFF_SECONDS", "60"),
        ("NOTIFY_LEASE_SECONDS", 0),
        ("NOTIFY_CLAIM_SIZE", True),
        ("NOTIFY_PUSH_DEVICES_PER_USER", 21),
        ("NOTIFY_INSIDE_ORIGINS", "https://push.internal"),
        ("NOTIFY_INSIDE_ORIGINS", ["push.internal"]),
        ("NOTIFY_WEBHOOK_ENDPOINT", "nowhere.endpoint"),
        ("NOTIFY_INSIDE_ORIGINS", ["https://push.internal/x"]),
    ],
)
def test_invalid_setting_is_an_error(settings, name, value):
    setattr(settings, name, value)
    assert list(checks.check_transports()) == list(checks.check_runner()) == []
    (message,) = [each for each in checks.check_settings() if each.id == "dovetail_notify.E001"]
    assert message.msg.startswith(name)
    assert message.hint


def test_misspelt_setting_is_a_warning(settings):
    settings.NOTIFY_TRANSPORT = {}
    assert "dovetail_notify.W001" in check_ids()


@isolate_apps("tests.notify.orders")
@pytest.mark.parametrize(
    ("name", "key", "ids"),
    [
        ("id", models.AutoField(primary_key=True), []),
        ("id", models.BigIntegerField(primary_key=True), ["dovetail_notify.E002"]),
        ("id", models.UUIDField(primary_key=True, default=uuid.uuid4), ["dovetail_notify.E002"]),
        ("number", models.BigAutoField(primary_key=True), ["dovetail_notify.E002"]),
    ],
)
def test_notification_model_needs_an_auto_key_named_id(monkeypatch, name, key, ids):
    fields: dict[str, Any] = {"id": None, name: key, "__module__": "tests.notify.orders.models"}
    model = type("OwnNotification", (AbstractNotification,), fields)
    monkeypatch.setattr(checks, "get_notification_model", lambda: model)
    found = list(checks.check_model())
    assert [message.id for message in found] == ids
    assert all(message.msg.endswith(f"Its key is the {type(key).__name__} {name}.") for message in found)


def test_other_model_as_notification_model_is_an_error(monkeypatch):
    from django.contrib.auth.models import Group

    monkeypatch.setattr(checks, "get_notification_model", lambda: Group)
    (message,) = checks.check_model()
    assert message.id == "dovetail_notify.E002"


def test_missing_transport_is_an_error(settings):
    settings.NOTIFY_TRANSPORTS = {"email": "nowhere.Transport"}
    (message,) = checks.check_transports()
    assert message.id == "dovetail_notify.E003"
    assert list(checks.check_runner()) == []


@pytest.fixture
def types() -> Any:
    classes: list[type[NotificationType]] = []

    def define(name: str, key: str, **attributes: Any) -> type[NotificationType]:
        attributes.setdefault("render", lambda self: Rendered(title="x"))
        cls: Any = type(name, (NotificationType,), attributes, key=key)
        classes.append(cls)
        return cls  # type: ignore[no-any-return]

    yield define
    for cls in classes:
        registry.remove(cls)


def test_duplicate_type_key_is_an_error(types):
    first = types("First", "tests.same")
    types("Second", "tests.same")
    (message,) = checks.check_types()
    assert message.id == "dovetail_notify.E004"
    assert registry.get("tests.same") is first


def test_example_that_does_not_render_is_an_error(types):
    types("Lacking", "tests.lacking", __annotations__={"number": "int"})
    types("Odd", "tests.odd", render=lambda self: "text")
    assert [message.id for message in checks.check_types()] == ["dovetail_notify.E005"] * 2


def test_unknown_channels_of_a_type_are_reported(types):
    types("Required", "tests.required", required={"email"})
    types("Faxed", "tests.faxed", channels={"in_app": True, "fax": True})
    assert sorted(str(message.id) for message in checks.check_types()) == [
        "dovetail_notify.E006",
        "dovetail_notify.W002",
    ]


def test_path_as_the_link_of_a_mail_needs_the_site(settings):
    settings.NOTIFY_SITE_URL = ""
    (message,) = checks.check_site()  # orders.shipped, whose example links to /orders/A-1
    assert message.id == "dovetail_notify.E016"
    assert "'/orders/A-1' in mails of 'orders.shipped'" in message.msg
    settings.NOTIFY_SITE_URL = "https://app.example.com"
    assert list(checks.check_site()) == []


@pytest.mark.parametrize("channel", ["in_app", "push"])
def test_path_as_a_link_outside_of_mail_needs_no_site(settings, monkeypatch, types, channel):
    settings.NOTIFY_SITE_URL = ""
    shown = types("Shown", "tests.shown", channels={channel: True}, render=lambda self: Rendered(title="x", url="/x"))
    monkeypatch.setattr(registry, "all", lambda: [shown])
    assert list(checks.check_site()) == []


class OwnTransport(transports.Transport):
    pass


@pytest.mark.parametrize(
    "configured", [{}, {"email": f"{__name__}.OwnTransport"}, {"email": "nowhere.Transport"}, ["email"]]
)
def test_project_without_the_mail_transport_needs_no_addresses(settings, configured):
    settings.NOTIFY_TRANSPORTS = configured
    settings.NOTIFY_SITE_URL = settings.NOTIFY_UNSUBSCRIBE_URL = ""
    assert list(checks.check_site()) == list(checks.check_unsubscribe()) == []


def test_mail_without_unsubscribe_url_is_a_deployment_warning(settings):
    settings.NOTIFY_UNSUBSCRIBE_URL = ""
    assert "dovetail_notify.W003" in check_ids(include_deployment_checks=True)
    assert check_ids() == set()


PUSH = "dovetail_notify.transports.push.PushTransport"


@pytest.fixture
def web_push(settings: Any) -> Any:
    settings.NOTIFY_TRANSPORTS = {"push": PUSH}
    settings.NOTIFY_VAPID_PRIVATE_KEY = generate()[0]
    settings.NOTIFY_VAPID_SUBJECT = "mailto:ops@example.com"
    return settings


def test_valid_push_settings_have_no_messages(web_push):
    assert list(checks.check_transports()) == []


def test_push_without_its_dependencies_names_the_extra(web_push, monkeypatch):
    monkeypatch.setattr(transports, "find_spec", lambda name: None if name == "httpcore" else object())
    (message,) = checks.check_transports()
    assert (message.id, message.hint) == ("dovetail_notify.E010", "pip install dovetail-notify[push]")
    assert "httpcore" in message.msg


def test_push_modules_import_without_their_dependencies():
    code = """
import sys
for name in ("cryptography", "httpcore", "h2", "jwt"):
    sys.modules[name] = None
import django
django.setup()
from dovetail_notify.transports import http, push, webhook
from dovetail_notify.transports.push import apns, fcm, vapid, web_push
from dovetail_notify import testing
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env={**os.environ, "PYTHONPATH": "."})


def test_push_without_a_configured_service_is_an_error(settings):
    settings.NOTIFY_TRANSPORTS = {"push": PUSH}
    (message,) = checks.check_transports()
    assert message.id == "dovetail_notify.E011"


@pytest.mark.parametrize(
    "key", ["x", "A" * 44, "-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----", "=secret", 5]
)
def test_invalid_vapid_key_is_an_error_without_the_key(web_push, key):
    web_push.NOTIFY_VAPID_PRIVATE_KEY = key
    (message,) = checks.check_transports()
    assert message.id == "dovetail_notify.E012"
    assert len(str(key)) < 3 or str(key) not in message.msg + str(message.hint)


def test_vapid_key_can_be_pem(web_push):
    key = ec.generate_private_key(ec.SECP256R1())
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    web_push.NOTIFY_VAPID_PRIVATE_KEY = key.private_bytes(encoding, form, serialization.NoEncryption()).decode()
    assert list(checks.check_transports()) == []
    other = ec.generate_private_key(ec.SECP384R1())
    web_push.NOTIFY_VAPID_PRIVATE_KEY = other.private_bytes(encoding, form, serialization.NoEncryption()).decode()
    assert [message.id for message in checks.check_transports()] == ["dovetail_notify.E012"]


@pytest.mark.parametrize("subject", ["", "ops@example.com", "mailto:ops", "http://example.com", 5])
def test_invalid_vapid_subject_is_an_error(web_push, subject):
    web_push.NOTIFY_VAPID_SUBJECT = subject
    (message,) = checks.check_transports()
    assert message.id == "dovetail_notify.E012"


def test_webhooks_without_an_endpoint_hook_are_an_error(settings):
    settings.NOTIFY_TRANSPORTS = {"webhook": "dovetail_notify.transports.webhook.WebhookTransport"}
    (message,) = checks.check_transports()
    assert message.id == "dovetail_notify.E015"
    settings.NOTIFY_WEBHOOK_ENDPOINT = lambda user, organization_key: None
    assert list(checks.check_transports()) == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transports, "find_spec", lambda name: None)
        assert [message.id for message in checks.check_transports()] == ["dovetail_notify.E010"]
    settings.NOTIFY_WEBHOOK_ENDPOINT = "nowhere.endpoint"
    assert list(checks.check_transports()) == []


def test_immediate_runner_with_push_is_a_deployment_warning(web_push):
    assert "dovetail_notify.W006" in check_ids(include_deployment_checks=True)
    web_push.NOTIFY_RUNNER = "dovetail_notify.outbox.runner.wait"
    assert "dovetail_notify.W006" not in check_ids(include_deployment_checks=True)
