from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client, override_settings

from dovetail_contract.conf import conf
from dovetail_contract.deprecation import lifecycle


def test_a_view_that_will_go_says_so() -> None:
    for answer in (Client().get("/api/old"), async_to_sync(AsyncClient().get)("/api/old")):
        assert answer.headers["Deprecation"] == "@1793491200"
        assert answer.headers["Sunset"] == "Wed, 01 May 2126 00:00:00 GMT"
        links = '<https://example.com/old>; rel="deprecation", <https://example.com/new>; rel="successor-version"'
        assert answer.headers["Link"] == links
    assert "Deprecation" not in Client().get("/api/orders").headers


def test_a_path_that_is_over_is_gone() -> None:
    over = {"since": "2025-01-01T00:00:00Z", "sunset": "2025-06-01T00:00:00Z", "successor": "/api/v2/"}
    with override_settings(CONTRACT_DEPRECATIONS={"/api/or": over, "/api/orders/x": {"since": over["since"]}}):
        answer = Client().get("/api/orders")
    assert (answer.status_code, answer.json()["code"]) == (410, "version_sunset")
    assert answer.headers["Link"] == '</api/v2/>; rel="successor-version"'


@pytest.mark.parametrize(
    "declared",
    [
        {},
        {"since": "soon"},
        {"since": "2026-01-01T00:00:00"},
        {"since": "2026-01-01T00:00:00Z", "sunset": "2025-01-01T00:00:00Z"},
        {"since": "2026-01-01T00:00:00Z", "until": "x"},
    ],
)
def test_what_cannot_be_is_found_at_the_start(declared: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        lifecycle(declared)
    with override_settings(CONTRACT_DEPRECATIONS={"/api/": declared}):
        assert [found.id for found in conf.check()] == ["dovetail_contract.E001"]


def test_times_are_in_utc_whatever_the_project_says() -> None:
    with override_settings(TIME_ZONE="America/Bogota"):
        assert Client().get("/api/old").json() == {"at": "1900-01-01T00:00:00Z"}
