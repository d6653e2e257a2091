"""Errors of the admin API in projects whose ``EXCEPTION_HANDLER`` is REST framework's own, which drops their codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler as rest_handler


def exception_handler(exc: Exception, context: Mapping[str, Any]) -> Response | None:
    """Return a problem (RFC 9457) with ``type``, ``title``, ``status``, ``detail``, ``code`` and, for mistakes in the
    request, ``errors`` with a JSON pointer each; None for unexpected exceptions."""
    if isinstance(exc, Http404):
        exc = exceptions.NotFound()
    elif isinstance(exc, PermissionDenied):
        exc = exceptions.PermissionDenied()
    response = rest_handler(exc, dict(context))
    if response is None or not isinstance(exc, exceptions.APIException):
        return response
    response.data = _problem(exc, response.status_code)
    response.content_type = "application/problem+json"
    return response


def _problem(exc: exceptions.APIException, status: int) -> dict[str, Any]:
    problem: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if isinstance(exc.detail, str):
        problem |= {"detail": exc.detail, "code": getattr(exc.detail, "code", exc.default_code)}
    elif isinstance(exc.detail, Mapping) and isinstance(exc.detail.get("detail"), str):
        problem |= {"code": exc.default_code, **exc.detail}
    else:
        problem |= {"code": exc.default_code, "errors": list(_errors(exc.detail, ()))}
    return {**problem, **getattr(exc, "extensions", {})}


def _errors(detail: object, path: tuple[str, ...]) -> list[dict[str, str]]:
    if isinstance(detail, Mapping):
        items = [(path if key == "non_field_errors" else (*path, str(key)), value) for key, value in detail.items()]
    elif isinstance(detail, Sequence) and not isinstance(detail, str):
        nested = any(isinstance(item, Mapping | list) for item in detail)
        items = [((*path, str(index)) if nested else path, item) for index, item in enumerate(detail)]
    else:
        pointer = "#" + "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in path)
        return [{"code": str(getattr(detail, "code", "invalid")), "detail": str(detail), "pointer": pointer}]
    return [error for inner, value in items for error in _errors(value, inner)]
