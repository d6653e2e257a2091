from __future__ import annotations

from typing import Any

import pytest
from django.test import Client, override_settings

from dovetail_contract import doctor
from dovetail_core.doctor import Project, _contradictions

PREFIX = "dovetail_contract.middleware."
PROBLEM, REQUEST_ID = f"{PREFIX}ProblemMiddleware", f"{PREFIX}RequestIDMiddleware"
RATE_LIMITS = f"{PREFIX}RateLimitMiddleware"
HANDLER = {"EXCEPTION_HANDLER": "dovetail_contract.problems.exception_handler"}


@pytest.mark.parametrize(
    ("middleware", "rest_framework", "missing"),
    [
        ([PROBLEM], {}, True),
        ([], HANDLER, True),
        ([REQUEST_ID, PROBLEM], HANDLER, False),
        ([f"{PREFIX}UTCMiddleware"], {}, False),
    ],
)
def test_problems_need_request_ids(middleware: list[str], rest_framework: Any, missing: bool) -> None:
    with override_settings(MIDDLEWARE=middleware, REST_FRAMEWORK=rest_framework):
        assert [finding.id for finding in doctor.examine(Project())] == ["middleware.missing"] * missing


@pytest.mark.parametrize(
    ("name", "warnings"), [("RateLimitMiddleware", 1), ("DeprecationMiddleware", 0), ("UTCMiddleware", 0)]
)
def test_order_is_reported_where_it_matters(name: str, warnings: int) -> None:
    with override_settings(MIDDLEWARE=[REQUEST_ID, f"{PREFIX}{name}", PROBLEM]):
        assert [pair for order in doctor.MIDDLEWARE for pair in _contradictions(Project(), order)] == (
            [(PROBLEM, f"{PREFIX}{name}")] * warnings
        )


@pytest.mark.parametrize(("middleware", "expected"), [([PROBLEM, RATE_LIMITS], 429), ([RATE_LIMITS, PROBLEM], 401)])
@override_settings(CONTRACT_RATE_LIMIT_FAILURES="2/hour")
def test_rate_limits_count_guesses_only_before_the_conversion(middleware: list[str], expected: int) -> None:
    """The reason of the order: a problem has the code ``not_authenticated``, whatever the view wrote."""
    with override_settings(MIDDLEWARE=middleware):
        assert [Client().get("/api/session?token=a").status_code for _ in range(3)] == [401, 401, expected]


@override_settings(MIDDLEWARE=[f"{PREFIX}DeprecationMiddleware", PROBLEM], CONTRACT_VERSIONS={"v1": {}})
def test_deprecation_before_conversion_answers_problems_with_headers() -> None:
    assert Client().get("/api/v9/orders").json()["code"] == "version_unknown"
    with override_settings(CONTRACT_DEPRECATIONS={"/api/session": {"since": "2024-01-01T00:00:00Z"}}):
        response = Client().get("/api/session")
    assert (response.json()["code"], "Deprecation" in response.headers) == ("not_authenticated", True)
