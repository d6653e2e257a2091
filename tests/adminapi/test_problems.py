"""Errors in projects with REST framework's own ``EXCEPTION_HANDLER``, as in this lane."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework.exceptions import APIException, Throttled, ValidationError

from dovetail_adminapi.api.problems import exception_handler


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Http404(), 404, "not_found"),
        (PermissionDenied(), 403, "permission_denied"),
        (Throttled(30), 429, "throttled"),
        (APIException("No.", "broken"), 500, "broken"),
        (ValidationError({"detail": "No.", "code": "taken"}), 400, "taken"),
        (ValidationError("No.", "taken"), 400, "invalid"),
    ],
)
def test_errors_have_status_and_code(error: Exception, status: int, code: str) -> None:
    response: Any = exception_handler(error, {})
    assert response.content_type == "application/problem+json"
    assert (response.status_code, response.data["status"], response.data["code"]) == (status, status, code)


def test_mistakes_have_pointers() -> None:
    detail = {"name": ["Too long."], "items": [{}, {"a/b": ["Missing."]}], "non_field_errors": ["All wrong."]}
    response: Any = exception_handler(ValidationError(detail, "bad"), {})
    assert response.data["errors"] == [
        {"code": "bad", "detail": "Too long.", "pointer": "#/name"},
        {"code": "bad", "detail": "Missing.", "pointer": "#/items/1/a~1b"},
        {"code": "bad", "detail": "All wrong.", "pointer": "#"},
    ]


def test_unexpected_exceptions_are_left_to_django() -> None:
    assert exception_handler(RuntimeError("secret"), {}) is None
