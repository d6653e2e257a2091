"""Versions are announced as deprecated, and removed after their sunset."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client, override_settings

from dovetail_contract import checks
from dovetail_contract.conf import conf
from dovetail_contract.lifecycle import parse_versions
from dovetail_contract.versioning import find_version, versions

REGISTRY = {
    "v1": {
        "released": "2020-01-01T00:00:00Z",
        "deprecated_at": "2024-01-01T00:00:00Z",
        "sunset_at": "2025-01-01T00:00:00Z",
        "successor": "v2",
        "migration_url": "https://example.com/to-2",
    },
    "v2": {
        "status": "deprecated",
        "deprecated_at": "2025-06-01T00:00:00Z",
        "sunset_at": "2126-01-01T00:00:00Z",
        "successor": "v3",
    },
    "v3": {"released": "2025-06-01T00:00:00Z"},
}


@pytest.fixture(autouse=True)
def registered() -> Any:
    with override_settings(CONTRACT_VERSIONS=REGISTRY):
        yield


def test_active_version_sends_no_headers() -> None:
    answer = Client().get("/api/v3/orders")
    assert answer.status_code == 200
    assert not {"Deprecation", "Sunset", "Link"} & set(answer.headers)


def test_deprecated_version_sends_headers() -> None:
    for answer in (Client().get("/api/v2/orders"), async_to_sync(AsyncClient().get)("/api/v2/orders")):
        assert answer.status_code == 200
        assert answer.headers["Deprecation"] == "@1748736000"
        assert answer.headers["Sunset"] == "Tue, 01 Jan 2126 00:00:00 GMT"
        assert answer.headers["Link"] == '</api/v3/>; rel="successor-version"'


@pytest.mark.parametrize("path", ["/api/v1/orders", "/api/v1/of-which-no-route-is-left", "/api/v1/"])
def test_version_after_its_sunset_is_410(path: str) -> None:
    for answer in (Client().get(path), async_to_sync(AsyncClient().get)(path)):
        assert (answer.status_code, answer.headers["Content-Type"]) == (410, "application/problem+json")
        assert (answer.json()["code"], answer.json()["successor"]) == ("version_sunset", "/api/v2/")
        about = "<https://example.com/to-2>"
        links = [f'{about}; rel="deprecation"', f'{about}; rel="sunset"', '</api/v2/>; rel="successor-version"']
        assert answer.headers["Link"] == ", ".join(links)
        assert answer.headers["Sunset"] == "Wed, 01 Jan 2025 00:00:00 GMT"


def test_status_can_end_a_version_early() -> None:
    with override_settings(CONTRACT_VERSIONS={**REGISTRY, "v2": {**REGISTRY["v2"], "status": "sunset"}}):
        assert Client().get("/api/v2/orders").status_code == 410


@pytest.mark.parametrize("path", ["/api/v9/orders", "/api/v3.1/orders", "/api/v9", "/api/v9/"])
def test_unknown_version_differs_from_unknown_path(path: str) -> None:
    answer = Client().get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "version_unknown")
    assert answer.json()["versions"] == ["v2", "v3"]
    assert Client().get("/api/v3/nowhere").json()["code"] == "not_found"


@pytest.mark.parametrize("path", ["/api/v", "/api/version", "/api/orders/v9", "/api/v9x/", "/api/v٣/", "/v9/"])
def test_other_segments_are_not_versions(path: str) -> None:
    assert find_version(path) == ("", "")


def test_versioned_api_path_finds_other_versions() -> None:
    with override_settings(CONTRACT_API_PATHS=["/api/v2/"]):
        assert find_version("/api/v2/orders") == ("/api/", "v2")
        assert find_version("/api/v9/orders") == ("/api/", "v9")


def test_versions_are_ignored_without_the_setting() -> None:
    with override_settings(CONTRACT_VERSIONS={}):
        assert Client().get("/api/v9/orders").json()["code"] == "not_found"
        assert "Deprecation" not in Client().get("/api/v2/orders").headers
        assert list(checks.check_versions(None)) == []


def test_earliest_sunset_of_version_and_path_applies() -> None:
    path = {"since": "2024-06-01T00:00:00Z", "sunset": "2127-01-01T00:00:00Z", "link": "https://example.com/orders"}
    with override_settings(CONTRACT_DEPRECATIONS={"/api/v2/orders": path}):
        answer = Client().get("/api/v2/orders")
    assert (answer.headers["Deprecation"], answer.headers["Sunset"]) == ("@1717200000", "Tue, 01 Jan 2126 00:00:00 GMT")
    assert "https://example.com/orders" in answer.headers["Link"]
    assert "/api/v3/" in answer.headers["Link"]


def test_dates_advance_the_status() -> None:
    assert [each.status for each in versions().values()] == ["sunset", "deprecated", "active"]
    planned = parse_versions({"v1": {"deprecated_at": "2126-01-01T00:00:00Z"}})["v1"]
    assert planned.status == "active"


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ([], "must map versions"),
        ({"one": {}}, "'v1' or 'v1.2'"),
        ({1: {}}, "'v1' or 'v1.2'"),
        ({"v1": {"until": "x"}}, "allowed keys"),
        ({"v1": None}, "allowed keys"),
        ({"v1": {"status": "old"}}, "active, deprecated, sunset"),
        ({"v1": {"deprecated_at": "soon"}}, "not a time with a time zone"),
        ({"v1": {"status": "deprecated"}}, "'v1': 'deprecated_at' is missing"),
        ({"v1": {"sunset_at": "2026-01-01T00:00:00Z"}}, "'v1': 'deprecated_at' is missing"),
        ({"v1": {"status": "sunset", "deprecated_at": "2026-01-01T00:00:00Z"}}, "needs 'sunset_at'"),
        (
            {"v1": {"deprecated_at": "2026-01-01T00:00:00Z", "sunset_at": "2025-01-01T00:00:00Z"}},
            "'sunset_at' is before 'deprecated_at'",
        ),
        (
            {"v1": {"released": "2026-01-01T00:00:00Z", "deprecated_at": "2025-01-01T00:00:00Z"}},
            "'deprecated_at' is before 'released'",
        ),
        ({"v1": {"successor": "v2"}}, "not another declared version"),
        ({"v1": {"successor": "v1"}}, "not another declared version"),
    ],
)
def test_invalid_declarations_fail_the_check(declared: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_versions(declared)
    with override_settings(CONTRACT_VERSIONS=declared):
        assert [found.id for found in conf.check()] == ["dovetail_contract.E001"]
        assert list(checks.check_versions(None)) == []


def test_routes_of_unknown_version_fail_the_check() -> None:
    assert list(checks.check_versions(None)) == []
    with override_settings(CONTRACT_VERSIONS={"v1": {}, "v2": {}}):
        (found,) = checks.check_versions(None)
    assert found.id == "dovetail_contract.E005"
    assert "Version v3" in found.msg


def test_check_warns_without_the_middleware() -> None:
    with override_settings(MIDDLEWARE=[]):
        (found,) = checks.check_versions(None)
    assert found.id == "dovetail_contract.W003"


def test_document_lists_versions_and_marks_deprecated_ones() -> None:
    pytest.importorskip("drf_spectacular", reason="drf-spectacular is not installed")
    from drf_spectacular.generators import SchemaGenerator

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("drf_spectacular.openapi.error", lambda *args, **kwargs: None)
        patch.setattr("drf_spectacular.openapi.warn", lambda *args, **kwargs: None)
        document = SchemaGenerator().get_schema(request=None, public=True)
    told = document["info"]["x-api-versions"]
    assert [(each["version"], each["status"], each["successor"]) for each in told] == [
        ("v1", "sunset", "v2"),
        ("v2", "deprecated", "v3"),
        ("v3", "active", None),
    ]
    assert told[0]["sunset_at"] == "2025-01-01T00:00:00Z"
    assert document["paths"]["/api/v2/orders"]["get"]["deprecated"] is True
    assert "410" in document["paths"]["/api/v2/orders"]["get"]["responses"]
    assert "deprecated" not in document["paths"]["/api/v3/orders"]["get"]
