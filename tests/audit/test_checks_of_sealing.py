from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dovetail_audit import checks
from dovetail_audit.sealing.checkpoints import SigningKey
from dovetail_audit.services import seal
from tests.audit.logs import write

KEY = SigningKey.generate("audit.example.com")


def ids(messages: Any) -> list[str]:
    return [message.id.removeprefix("dovetail_audit.") for message in messages]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUDIT_SIGNING_KEY", "secret"),
        ("AUDIT_SIGNING_KEY", str(KEY)[:-4]),
        ("AUDIT_VERIFYING_KEYS", ["audit+5f3c81d2+AeJ"]),
        ("AUDIT_ORIGIN", "two words"),
    ],
)
def test_e003_names_malformed_key(settings: Any, name: str, value: object) -> None:
    setattr(settings, name, value)
    (message,) = checks.check_signing_key()
    assert message.id == "dovetail_audit.E003"
    assert message.msg.startswith(name)
    assert message.hint


def test_valid_keys_pass(settings: Any) -> None:
    settings.AUDIT_SIGNING_KEY = str(KEY)
    settings.AUDIT_VERIFYING_KEYS = [str(KEY.verifying_key())]
    assert ids(checks.check_signing_key()) == []
    assert ids(checks.check_signature_kind()) == []


def test_i001_names_checkpoints_that_outsiders_cannot_verify() -> None:
    assert ids(checks.check_signature_kind()) == ["I001"]


def test_w003_names_missing_anchors(settings: Any) -> None:
    assert ids(checks.check_anchors()) == ["W003"]
    settings.AUDIT_ANCHORS = ["dovetail_audit.sealing.anchors.log"]
    assert ids(checks.check_anchors()) == []


def test_e004_names_anchors_without_a_place(settings: Any) -> None:
    settings.AUDIT_ANCHORS = [f"dovetail_audit.sealing.anchors.{name}" for name in ("storage", "url")]
    assert ids(checks.check_anchors()) == ["E004", "E004"]
    settings.AUDIT_STORAGE = "default"
    settings.AUDIT_ANCHOR_URL = "https://notary.example.com/"
    assert ids(checks.check_anchors()) == []


@pytest.mark.django_db
def test_w004_names_a_sealer_that_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    write(1)
    assert ids(checks.check_lag(databases=["default"])) == []
    monkeypatch.setattr(checks, "LAG", timedelta(seconds=-1))
    assert ids(checks.check_lag(databases=["default"])) == ["W004"]
    assert ids(checks.check_lag()) == []
    monkeypatch.setattr(checks, "LAG", timedelta())
    seal()
    assert ids(checks.check_lag(databases=["default"])) == []
