"""Values of requests and jobs, as records and rows show them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.utils.translation import gettext_lazy

from dovetail_adminapi.redaction import MAX_DEPTH, MAX_ITEMS, MAX_TEXT, redact, redact_text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"newPassword": "hunter22"}, {"newPassword": "[redacted]"}),
        ({"api_key": {"id": 1}}, {"api_key": "[redacted]"}),
        # Whether a value was sent is no secret.
        ({"password": None, "token": "", "has_secret": True}, {"password": None, "token": "", "has_secret": True}),
        ({"note": "Bearer abcdefgh12345678"}, {"note": "[redacted]"}),
        ({"a": [{"code": "1234"}]}, {"a": [{"code": "[redacted]"}]}),
        ({"postgres://app:hunter22@db/prod": 1}, {"postgres://[redacted]@db/prod": 1}),
    ],
)
def test_secret_is_hidden(value: Any, shown: Any) -> None:
    assert redact(value) == shown


def test_declared_secret_is_hidden_at_any_depth() -> None:
    assert redact({"a": {"answer": "blue", "question": "colour"}}, {"answer"}) == {
        "a": {"answer": "[redacted]", "question": "colour"}
    }


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31T12:00:00Z"),
        (Decimal("1.50"), "1.50"),
        (gettext_lazy("Users"), "Users"),
        (object(), "<object>"),
        # JSON of PostgreSQL has neither, and other languages round larger integers.
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (2**53 + 1, "9007199254740993"),
        (-(2**53), -(2**53)),
        (1.5, 1.5),
        ({1}, [1]),
        (b"raw", "<bytes>"),
    ],
)
def test_value_is_shown_as_json(value: Any, shown: Any) -> None:
    assert redact(value) == shown


def test_nul_and_lone_surrogate_are_replaced() -> None:
    assert redact_text("a\0b\ud800c") == "a\u2400b\ufffdc"


def test_text_is_cut_after_its_secrets_are_hidden() -> None:
    secret = "Bearer abcdefgh12345678"
    assert redact_text(f"{'x' * 40} {secret}", 50) == f"{'x' * 40} [redacted"
    assert len(redact_text("x" * 10_000)) == MAX_TEXT


def test_size_is_bounded() -> None:
    assert redact(list(range(MAX_ITEMS + 2)))[MAX_ITEMS:] == ["<2 more>"]
    wide = redact({str(number): number for number in range(MAX_ITEMS + 2)})
    assert (len(wide), wide["…"]) == (MAX_ITEMS + 1, "<2 more>")


def test_depth_is_bounded() -> None:
    mapping: Any = {"x": 1}
    sequence: Any = [1, 2]
    for _ in range(MAX_DEPTH):
        mapping, sequence = {"a": mapping}, [sequence]
    shown = redact(mapping), redact(sequence)
    for _ in range(MAX_DEPTH):
        shown = shown[0]["a"], shown[1][0]
    assert shown == ("<1 items>", "<2 items>")
