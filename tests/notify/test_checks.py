from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks

from dovetail_notify import NotificationType, Rendered, checks
from dovetail_notify.types import registry


def found(**options: Any) -> set[str]:
    return {str(message.id) for message in run_checks(**options) if str(message.id).startswith("dovetail_notify")}


def test_a_project_as_it_should_be_has_nothing_to_say():
    assert found(include_deployment_checks=True) == set()


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
    ],
)
def test_a_setting_that_is_not_allowed_is_an_error(settings, name, value):
    setattr(settings, name, value)
    (message,) = [each for each in checks.check_settings() if each.id == "dovetail_notify.E001"]
    assert message.msg.startswith(name)
    assert message.hint


def test_a_misspelt_setting_is_a_warning(settings):
    settings.NOTIFY_TRANSPORT = {}
    assert "dovetail_notify.W001" in found()


def test_an_inbox_that_the_database_does_not_number_is_an_error(settings, monkeypatch):
    from django.contrib.auth.models import Group

    monkeypatch.setattr(checks, "get_notification_model", lambda: Group)
    (message,) = checks.check_model()
    assert message.id == "dovetail_notify.E002"


def test_a_transport_that_is_not_there_is_an_error(settings):
    settings.NOTIFY_TRANSPORTS = {"email": "nowhere.Transport"}
    (message,) = checks.check_transports()
    assert message.id == "dovetail_notify.E003"


@pytest.fixture
def types() -> Any:
    made: list[type[NotificationType]] = []

    def define(name: str, key: str, **attributes: Any) -> type[NotificationType]:
        attributes.setdefault("render", lambda self: Rendered(title="x"))
        cls: Any = type(name, (NotificationType,), attributes, key=key)
        made.append(cls)
        return cls  # type: ignore[no-any-return]

    yield define
    for cls in made:
        registry.remove(cls)


def test_two_types_of_one_key_are_an_error(types):
    first = types("First", "tests.same")
    types("Second", "tests.same")
    (message,) = checks.check_types()
    assert message.id == "dovetail_notify.E004"
    assert registry.get("tests.same") is first


def test_an_example_that_does_not_render_is_an_error(types):
    types("Lacking", "tests.lacking", __annotations__={"number": "int"})
    types("Odd", "tests.odd", render=lambda self: "text")
    assert [message.id for message in checks.check_types()] == ["dovetail_notify.E005"] * 2


def test_channels_that_are_not_there_are_told(types):
    types("Required", "tests.required", required={"email"})
    types("Faxed", "tests.faxed", channels={"in_app": True, "fax": True})
    assert sorted(str(message.id) for message in checks.check_types()) == [
        "dovetail_notify.E006",
        "dovetail_notify.W002",
    ]


def test_mail_without_a_way_to_stop_it_is_told_in_deployment(settings):
    settings.NOTIFY_UNSUBSCRIBE_URL = ""
    assert "dovetail_notify.W003" in found(include_deployment_checks=True)
    assert found() == set()
