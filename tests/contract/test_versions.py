"""The registry of versions: what becomes of each is told, and enforced once its day has come."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client, override_settings

from dovetail_contract import checks
from dovetail_contract.conf import conf
from dovetail_contract.lifecycle.versions import parse
from dovetail_contract.versioning.versions import named_in, versions

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


def test_the_present_version_says_nothing() -> None:
    answer = Client().get("/api/v3/orders")
    assert answer.status_code == 200
    assert not {"Deprecation", "Sunset", "Link"} & set(answer.headers)


def test_one_that_will_go_says_until_when_and_what_comes_after() -> None:
    for answer in (Client().get("/api/v2/orders"), async_to_sync(AsyncClient().get)("/api/v2/orders")):
        assert answer.status_code == 200
        assert answer.headers["Deprecation"] == "@1748736000"
        assert answer.headers["Sunset"] == "Tue, 01 Jan 2126 00:00:00 GMT"
        assert answer.headers["Link"] == '</api/v3/>; rel="successor-version"'


@pytest.mark.parametrize("path", ["/api/v1/orders", "/api/v1/of-which-no-route-is-left", "/api/v1/"])
def test_one_that_is_over_is_gone_with_all_its_paths(path: str) -> None:
    for answer in (Client().get(path), async_to_sync(AsyncClient().get)(path)):
        assert (answer.status_code, answer.headers["Content-Type"]) == (410, "application/problem+json")
        assert (answer.json()["code"], answer.json()["successor"]) == ("version_sunset", "/api/v2/")
        about = "<https://example.com/to-2>"
        links = [f'{about}; rel="deprecation"', f'{about}; rel="sunset"', '</api/v2/>; rel="successor-version"']
        assert answer.headers["Link"] == ", ".join(links)
        assert answer.headers["Sunset"] == "Wed, 01 Jan 2025 00:00:00 GMT"


def test_it_may_be_over_before_its_day() -> None:
    with override_settings(CONTRACT_VERSIONS={**REGISTRY, "v2": {**REGISTRY["v2"], "status": "sunset"}}):
        assert Client().get("/api/v2/orders").status_code == 410


@pytest.mark.parametrize("path", ["/api/v9/orders", "/api/v3.1/orders", "/api/v9", "/api/v9/"])
def test_a_version_that_there_is_not_is_told_from_a_path_that_there_is_not(path: str) -> None:
    answer = Client().get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "version_unknown")
    assert answer.json()["versions"] == ["v2", "v3"]
    assert Client().get("/api/v3/nowhere").json()["code"] == "not_found"


@pytest.mark.parametrize("path", ["/api/v", "/api/version", "/api/orders/v9", "/api/v9x/", "/api/v٣/", "/v9/"])
def test_what_is_no_version_is_no_unknown_one(path: str) -> None:
    assert named_in(path) == ("", "")


def test_an_api_that_is_all_of_one_version_has_others_beside_it() -> None:
    with override_settings(CONTRACT_API_PATHS=["/api/v2/"]):
        assert named_in("/api/v2/orders") == ("/api/", "v2")
        assert named_in("/api/v9/orders") == ("/api/", "v9")


def test_without_a_registry_nothing_is_said_of_versions() -> None:
    with override_settings(CONTRACT_VERSIONS={}):
        assert Client().get("/api/v9/orders").json()["code"] == "not_found"
        assert "Deprecation" not in Client().get("/api/v2/orders").headers
        assert list(checks.check_versions(None)) == []


def test_a_version_and_a_path_of_it_end_with_the_first_of_the_two() -> None:
    path = {"since": "2024-06-01T00:00:00Z", "sunset": "2127-01-01T00:00:00Z", "link": "https://example.com/orders"}
    with override_settings(CONTRACT_DEPRECATIONS={"/api/v2/orders": path}):
        answer = Client().get("/api/v2/orders")
    assert (answer.headers["Deprecation"], answer.headers["Sunset"]) == ("@1717200000", "Tue, 01 Jan 2126 00:00:00 GMT")
    assert "https://example.com/orders" in answer.headers["Link"]
    assert "/api/v3/" in answer.headers["Link"]


def test_dates_move_a_version_on() -> None:
    assert [each.status for each in versions().values()] == ["sunset", "deprecated", "active"]
    planned = parse({"v1": {"deprecated_at": "2126-01-01T00:00:00Z"}})["v1"]
    assert planned.status == "active"


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ([], "must map versions"),
        ({"one": {}}, "'v1' or 'v1.2'"),
        ({1: {}}, "'v1' or 'v1.2'"),
        ({"v1": {"until": "x"}}, "nothing but"),
        ({"v1": None}, "nothing but"),
        ({"v1": {"status": "old"}}, "active, deprecated, sunset"),
        ({"v1": {"deprecated_at": "soon"}}, "with its zone"),
        ({"v1": {"status": "deprecated"}}, "since when 'v1'"),
        ({"v1": {"sunset_at": "2026-01-01T00:00:00Z"}}, "since when 'v1'"),
        ({"v1": {"status": "sunset", "deprecated_at": "2026-01-01T00:00:00Z"}}, "when 'v1' was sunset"),
        (
            {"v1": {"deprecated_at": "2026-01-01T00:00:00Z", "sunset_at": "2025-01-01T00:00:00Z"}},
            "ends \\('sunset_at'\\) before",
        ),
        (
            {"v1": {"released": "2026-01-01T00:00:00Z", "deprecated_at": "2025-01-01T00:00:00Z"}},
            "before it is released",
        ),
        ({"v1": {"successor": "v2"}}, "another of its versions"),
        ({"v1": {"successor": "v1"}}, "another of its versions"),
    ],
)
def test_what_cannot_be_is_found_at_the_start(declared: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(declared)
    with override_settings(CONTRACT_VERSIONS=declared):
        assert [found.id for found in conf.check()] == ["dovetail_contract.E001"]
        assert list(checks.check_versions(None)) == []


def test_routes_of_a_version_that_is_not_registered_are_found_at_the_start() -> None:
    assert list(checks.check_versions(None)) == []
    with override_settings(CONTRACT_VERSIONS={"v1": {}, "v2": {}}):
        (found,) = checks.check_versions(None)
    assert found.id == "dovetail_contract.E005"
    assert "version v3" in found.msg


def test_a_registry_that_nothing_reads_is_told() -> None:
    with override_settings(MIDDLEWARE=[]):
        (found,) = checks.check_versions(None)
    assert found.id == "dovetail_contract.W003"


def test_the_document_has_the_registry_and_marks_what_will_go() -> None:
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
