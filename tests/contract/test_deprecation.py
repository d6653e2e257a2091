from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.test import AsyncClient, Client, override_settings

from dovetail_contract import checks
from dovetail_contract.conf import conf
from dovetail_contract.lifecycle import lifecycle
from tests.contract.shop.views import AgeingViewSet


def test_deprecated_view_sends_headers() -> None:
    for answer in (Client().get("/api/old"), async_to_sync(AsyncClient().get)("/api/old")):
        assert answer.headers["Deprecation"] == "@1793491200"
        assert answer.headers["Sunset"] == "Wed, 01 May 2126 00:00:00 GMT"
        about, new = "<https://example.com/old>", "<https://example.com/new>"
        links = [f'{about}; rel="deprecation"', f'{about}; rel="sunset"', f'{new}; rel="successor-version"']
        assert answer.headers["Link"] == ", ".join(links)
    assert "Deprecation" not in Client().get("/api/orders").headers


def test_path_after_its_sunset_is_410() -> None:
    over = {"since": "2025-01-01T00:00:00Z", "sunset": "2025-06-01T00:00:00Z", "successor": "/api/v2/"}
    with override_settings(CONTRACT_DEPRECATIONS={"/api/or": over, "/api/orders/x": {"since": over["since"]}}):
        answer = Client().get("/api/orders")
    assert (answer.status_code, answer.json()["code"]) == (410, "version_sunset")
    assert answer.headers["Link"] == '</api/v2/>; rel="successor-version"'
    assert answer.json()["successor"] == "/api/v2/"


def test_earliest_dates_and_all_links_apply() -> None:
    path = {"since": "2026-12-01T00:00:00Z", "sunset": "2100-01-01T00:00:00Z", "link": "https://example.com/path"}
    with override_settings(CONTRACT_DEPRECATIONS={"/api/old": path}):
        answer = Client().get("/api/old")
    assert (answer.headers["Deprecation"], answer.headers["Sunset"]) == ("@1793491200", "Fri, 01 Jan 2100 00:00:00 GMT")
    assert "https://example.com/path" in answer.headers["Link"]
    assert "https://example.com/old" in answer.headers["Link"]


def test_path_after_its_sunset_is_410_without_a_route() -> None:
    over = {"since": "2025-01-01T00:00:00Z", "sunset": "2025-06-01T00:00:00Z"}
    with override_settings(CONTRACT_DEPRECATIONS={"/api/removed/": over}):
        assert Client().get("/api/removed/1").json()["code"] == "version_sunset"


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
def test_invalid_declarations_fail_the_check(declared: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        lifecycle(declared)
    with override_settings(CONTRACT_DEPRECATIONS={"/api/": declared}):
        assert [found.id for found in conf.check()] == ["dovetail_contract.E001"]


@pytest.mark.django_db
def test_single_operations_can_be_deprecated() -> None:
    client = Client()
    client.force_login(User.objects.create_user("ada"))
    made = client.post("/api/ageing", {"title": "one"}, "application/json")
    path = f"/api/ageing/{made.json()['id']}"
    going = [client.get("/api/ageing"), client.put(path, {"title": "two"}, "application/json")]
    staying = [made, client.get(path), client.patch(path, {"title": "two"}, "application/json")]
    assert [answer.status_code for answer in going + staying] == [200, 200, 201, 200, 200]
    assert ["Deprecation" in answer.headers for answer in going + staying] == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("contract", "id_", "message"),
    [
        ({"deprecated": {"since": "soon"}}, "E007", "not a time with a time zone"),
        (
            {"deprecated": {"since": "2026-01-01T00:00:00Z", "sunset": "2025-01-01T00:00:00Z"}},
            "E007",
            "'sunset' is before 'since'",
        ),
        ({"deprecated": "2026-01-01"}, "E007", "'deprecated'"),
        ({"deprecated": {"since": "2026-01-01T00:00:00Z", "only": ["export"]}}, "E007", "'export'"),
        ({"idempotency": "require"}, "E007", "'off', 'optional', 'required'"),
        ({"idempotency_hours": 0}, "E007", "at least 1"),
        ({"total": "always"}, "E007", "'exact'"),
        ({"filter": {"nothing": ["eq"]}}, "E007", "no column 'nothing'"),
        ({"filter": {"title": ["like"]}}, "E007", "The filter 'title' of AgeingViewSet has unknown operators: like"),
        ({"idempotence": "off"}, "W004", "idempotence"),
    ],
)
def test_invalid_contracts_fail_the_check(monkeypatch: Any, contract: Any, id_: str, message: str) -> None:
    assert list(checks.check_views(None)) == []
    monkeypatch.setattr(AgeingViewSet, "contract", contract)
    (error,) = checks.check_views(None)
    assert error.id == f"dovetail_contract.{id_}"
    assert "AgeingViewSet" in error.msg
    assert message in error.msg


def test_other_keys_in_a_contract_pass_the_check(monkeypatch: Any) -> None:
    monkeypatch.setattr(AgeingViewSet, "contract", {"owner": "billing"})
    assert list(checks.check_views(None)) == []


def test_times_are_in_utc_in_any_time_zone() -> None:
    with override_settings(TIME_ZONE="America/Bogota"):
        assert Client().get("/api/old").json() == {"at": "1900-01-01T00:00:00Z"}
