from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks

from dovetail_audit.checks import check_settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUDIT_EVENTS", {"invoice.*": 1}),
        ("AUDIT_EVENTS", {"invoice.*": "nowhere.function"}),
        ("AUDIT_EVENTS", ["invoice.*"]),
        ("AUDIT_ADMIN_SITE", "yes"),
        ("AUDIT_ON_FAILURE", "ignore"),
        ("AUDIT_REDACT", "diagnosis"),
        ("AUDIT_REDACT_VALUES", ["("]),
        ("AUDIT_RECORD_IP", "half"),
        ("AUDIT_DENIALS_PER_MINUTE", 0),
        ("AUDIT_RETENTION", {"*": 0}),
        ("AUDIT_RETENTION", "90"),
        ("AUDIT_ANCHORS", "dovetail_audit"),
        ("AUDIT_ANCHORS", [1]),
        ("AUDIT_VERIFYING_KEYS", "audit+5f3c81d2+AeJ"),
        ("AUDIT_VERIFYING_KEYS", None),
        ("AUDIT_ANCHORS", None),
        ("AUDIT_ANCHORS", ["dovetail_audit.sealing.anchors.strage"]),
        ("AUDIT_PERMISSION_CLASSES", ["nowhere.IsOwner"]),
        ("AUDIT_EVENTS", {"invoice.*": "os.path.sep"}),
        ("AUDIT_ALIAS", 5),
    ],
)
def test_e001_names_invalid_setting(settings: Any, name: str, value: object) -> None:
    setattr(settings, name, value)
    (message,) = check_settings()
    assert message.id == "dovetail_audit.E001"
    assert message.msg.startswith(f"{name} is {value!r}; it must ")


def test_defaults_are_valid() -> None:
    assert check_settings() == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUDIT_ALIAS", "nowhere"),
        ("AUDIT_ALIAS", 5),
        ("AUDIT_OWNER_ALIAS", "nowhere"),
        ("AUDIT_VERIFYING_KEYS", None),
        ("AUDIT_VERIFYING_KEYS", 5),
        ("AUDIT_ANCHORS", None),
        ("AUDIT_ANCHORS", 5),
        ("AUDIT_EVENTS", None),
        ("AUDIT_SIGNING_KEY", 5),
        ("AUDIT_ORIGIN", None),
        ("AUDIT_STORAGE", []),
        ("AUDIT_RETENTION", True),
        ("AUDIT_HOLD", "nowhere.function"),
    ],
)
def test_wrong_setting_stops_no_check(settings: Any, name: str, value: object) -> None:
    setattr(settings, name, value)
    options: list[dict[str, Any]] = [{}, {"include_deployment_checks": True, "databases": ["default"]}]
    for option in options:
        messages = [
            message for message in run_checks(**option) if message.id and message.id.startswith("dovetail_audit.E")
        ]
        assert any(name in message.msg for message in messages)
