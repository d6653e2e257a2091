from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.test import RequestFactory

from dovetail_audit import diff, record
from dovetail_audit.entries import canonical
from dovetail_audit.entries.diffs import TRACKING
from dovetail_audit.entries.patterns import is_personal, is_secret
from dovetail_audit.entries.redaction import MAX_BYTES, redact
from dovetail_audit.models import Entry
from tests.audit.shop.models import Order

CARD = "4111 1111 1111 1111"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
API_KEY = "acme_live_0123456789abABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
PEM = "-----BEGIN PRIVATE KEY-----\nMIIBVQIBADANBg\n-----END PRIVATE KEY-----"


@pytest.mark.parametrize(
    "name",
    [
        "password", "new_password", "newPassword", "raw_key", "api_key", "apiKey", "X-Api-Key", "refresh_token",
        "token",
        "Authorization", "set-cookie", "otp", "totp_secret", "code", "recovery_codes", "pin", "iban", "card_number",
        "client_secret", "csrfmiddlewaretoken",
    ],
)  # fmt: skip
def test_name_is_secret(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "shipping",
        "opinion",
        "monkey",
        "status_code",
        "countryCode",
        "key_prefix",
        "name",
        "keyboard",
        "decode",
        "amount",
    ],
)
def test_name_is_no_secret(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize("name", ["email", "billing_email", "firstName", "phone", "ip", "network", "postal_address"])
def test_name_is_personal(name: str) -> None:
    assert is_personal(name)
    assert not is_personal("amount")


@pytest.mark.parametrize("secret", [JWT, JWT[:30], API_KEY, PEM, PEM[:40], CARD, CARD.replace(" ", "")])
def test_secret_within_text_is_replaced(secret: str) -> None:
    data, private = redact({"parameters": {"note": f"Use {secret} today", "list": [secret]}})
    assert secret.split()[-1] not in str(data)
    assert data["parameters"]["list"] == ["[redacted]"]
    assert data["parameters"]["note"].startswith("Use [redacted]")
    assert private == {}


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcdefgh12345678",
        "postgres://app:hunter22@db/prod",
        "https://example.com/reset?token=abcdef&a=1",
        "https://example.com/magic?code=12345678",
    ],
)
def test_credential_within_text_is_replaced(text: str) -> None:
    data, _ = redact({"parameters": {"text": text}})
    for secret in ("abcdefgh12345678", "hunter22", "abcdef", "12345678"):
        assert secret not in data["parameters"]["text"]


@pytest.mark.parametrize(
    "text",
    [
        "1764481234567",
        "4111 1111 1111 1112",
        "order 42",
        "a://b",
        "a4111111111111111f" * 3,
        "4f-4111111111111111",
        "notify_devices_registrationscount",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redact({"parameters": {"text": text}}) == ({"parameters": {"text": text}}, {})


def test_secret_field_of_a_change_is_only_changed() -> None:
    data, _ = redact({"changes": {"password": ["old", "new"], "name": ["a", "b"]}})
    assert data == {"changes": {"password": "changed", "name": ["a", "b"]}}


def test_personal_values_are_moved_with_their_paths() -> None:
    data, private = redact({
        "parameters": {"email": "ada@example.com", "users": [{"phone": "1"}], "note": "Ask bob@example.com", "ip": None}
    })  # fmt: skip
    assert data == {
        "parameters": {"email": "[personal]", "users": [{"phone": "[personal]"}], "note": "[personal]", "ip": None}
    }
    assert private == {
        "parameters.email": "ada@example.com",
        "parameters.users.0.phone": "1",
        "parameters.note": "Ask bob@example.com",
    }


def test_personal_values_have_no_secrets() -> None:
    _, private = redact({"parameters": {"device": {"token": "abc", "text": JWT, "list": [JWT]}}})
    assert private == {"parameters.device": {"token": "[redacted]", "text": "[redacted]", "list": ["[redacted]"]}}


def test_project_names_more_secrets_and_personal_fields(settings: Any) -> None:
    settings.AUDIT_REDACT = ["diagnosis", "Status_Code"]
    settings.AUDIT_PERSONAL = ["nickname"]
    settings.AUDIT_REDACT_VALUES = [r"PAT-\d{8}"]
    document = {"diagnosis": "x", "status_code": 1, "nickname": "ada", "text": "See PAT-12345678."}
    data, private = redact({"parameters": document})
    assert data["parameters"] == {
        "diagnosis": "[redacted]", "status_code": "[redacted]", "nickname": "[personal]", "text": "See [redacted].",
    }  # fmt: skip
    assert private == {"parameters.nickname": "ada"}


@pytest.mark.django_db
def test_entry_has_no_secret_of_its_arguments() -> None:
    entry = record(
        "user.updated",
        parameters={"password": "hunter22"},
        changes={"pin": ["1234", "5678"]},
        extra={"headers": {"Authorization": "Basic YWRhOmh1bnRlcjIy"}},
        personal={"session": {"cookie": "hunter22"}, "note": API_KEY},
    )
    stored = str((entry.data, entry.private))
    for secret in ("hunter22", "1234", "YWRh", API_KEY):
        assert secret not in stored


def test_keys_are_redacted() -> None:
    votes = {"ada@example.com": 1, "bob@example.com": {"email": "bob"}, JWT: 2, f"{JWT} ": 3}
    data, private = redact({"parameters": {"votes": votes}})
    assert data["parameters"]["votes"] == {
        "[personal]": 1, "[personal] 2": {"email": "[personal]"}, "[redacted]": 2, "[redacted] ": 3,
    }  # fmt: skip
    assert private == {
        "keys.parameters.votes.[personal]": "ada@example.com",
        "keys.parameters.votes.[personal] 2": "bob@example.com",
        "parameters.votes.[personal] 2.email": "bob",
    }


def test_keys_of_personal_values_have_no_secrets() -> None:
    _, private = redact({"parameters": {"device": {JWT: 1, API_KEY: 2}}})
    assert private == {"parameters.device": {"[redacted]": 1, "[redacted] 2": 2}}


@pytest.mark.django_db
@pytest.mark.parametrize("secret", [JWT, API_KEY, CARD.replace(" ", "")])
def test_no_column_holds_a_secret(secret: str) -> None:
    request = RequestFactory().get("/", headers={"User-Agent": f"{'x' * 240} {secret}", "X-Request-ID": secret})
    order = Order(pk=5, number=secret)
    for target in [("card", secret), (secret, "5"), secret, order]:
        entry = record(
            "order.paid", target=target, actor=secret, organization_id=secret, problem=f"wrong {secret}",
            request=request,
        )  # fmt: skip
        row = json.dumps(Entry.objects.filter(pk=entry.pk).values()[0], default=repr)
        assert secret not in row
        assert secret[:12] not in row


@pytest.mark.django_db
def test_address_is_in_no_hashed_column() -> None:
    entry = record("order.paid", target=("ada@example.com", 5), problem="unknown: ada@example.com")
    assert (entry.target_kind, entry.problem) == ("[personal]", "[personal]")


@pytest.mark.django_db
def test_key_of_a_session_is_hashed() -> None:
    target = Session(session_key="a" * 32)
    entry = record("session.ended", target=target)
    assert entry.target.startswith("hashed:")
    assert record("session.ended", target=target).target == entry.target


@pytest.mark.django_db
def test_label_is_no_secret_field(monkeypatch: pytest.MonkeyPatch) -> None:
    order = Order(pk=5, number="A-1")
    assert record("order.paid", target=order).target_label == "A-1"
    monkeypatch.setattr(Order, TRACKING, replace(getattr(Order, TRACKING), secret=frozenset({"number"})))
    assert record("order.paid", target=order).target_label is None
    assert diff(None, order, fields=["number"]) == {"number": "changed"}


def test_each_value_of_a_large_document_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []
    size = canonical.size
    monkeypatch.setattr(canonical, "size", lambda value: measured.append(size(value)) or measured[-1])
    document = {f"k{outer}": {f"a{inner}": "x y" * 80 for inner in range(100)} for outer in range(100)}
    data, _ = redact({"parameters": document})
    assert size(data) <= MAX_BYTES
    assert sum(measured) < 6 * size(document)
