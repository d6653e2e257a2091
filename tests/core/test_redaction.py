from __future__ import annotations

import re

import pytest

from dovetail_core.redaction import is_secret_name, redact_text, words_of


@pytest.mark.parametrize("name", ["newPassword", "X-Api-Key", "refresh_token", "recovery_codes", "card_number"])
def test_name_is_secret(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["shipping", "monkey", "statusCode", "key_prefix", "keyboard"])
def test_name_is_no_secret(name: str) -> None:
    assert not is_secret_name(name)


def test_words_of_a_name_are_in_lower_case() -> None:
    assert words_of("HTTPStatus_code-2") == ["http", "status", "code", "2"]


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("Authorization: Bearer abcdefgh12345678", "Authorization: [redacted]"),
        ("postgres://app:hunter22@db/prod", "postgres://[redacted]@db/prod"),
        ("https://example.com/?token=abcdef&a=1", "https://example.com/?[redacted]&a=1"),
        ("paid with 4111 1111 1111 1111", "paid with [redacted]"),
        ("order 4111 1111 1111 1112", "order 4111 1111 1111 1112"),
        ("sent eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "sent [redacted]"),
        ("cut: eyJhbGciOiJIUzI1", "cut: [redacted]"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----, read", "[redacted], read"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE", "[redacted]"),
        ("key acme_live_0123456789ABCDEFabcd", "key [redacted]"),
        ("a:b@c", "a:b@c"),
    ],
)
def test_secret_within_text_is_replaced(text: str, redacted: str) -> None:
    assert redact_text(text) == redacted


def test_further_patterns_are_replaced() -> None:
    assert redact_text("See PAT-12345678.", [re.compile(r"PAT-\d{8}")]) == "See [redacted]."
