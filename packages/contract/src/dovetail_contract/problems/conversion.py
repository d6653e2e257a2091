"""Converts error details and error responses of other shapes to problems: REST framework's, Django's, a view's own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard
from urllib.parse import quote

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.encoding import force_str
from django.utils.functional import Promise
from rest_framework.settings import api_settings

from dovetail_contract.conf import conf
from dovetail_contract.problems.builder import MEDIA_TYPE, ProblemResponse, problem

_BODY_HEADERS = {"content-type", "content-length", "content-encoding", "content-language", "etag", "last-modified"}
#: Methods whose errors name query parameters and not members of the body.
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

Path = tuple[str | int, ...]


def is_convertible(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Return whether the response is of a REST framework view, or a page of Django such as that of an unknown route."""
    is_page = response.headers.get("Content-Type", "").startswith("text/html")
    if request.resolver_match is None:
        return is_page
    # Imported late: the modules read the settings of REST framework, which may import this module.
    from rest_framework.response import Response
    from rest_framework.schemas.generators import is_api_view

    # Other middleware, such as that of django-axes, may replace the response of a view by JSON of its own.
    return is_api_view(request.resolver_match.func) and (is_page or isinstance(response, Response))


def convert(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Return ``response``, or the problem that replaces it. Headers and cookies are kept."""
    if response.status_code < 400 or response.headers.get("Content-Type", "").startswith(MEDIA_TYPE):
        return response
    data = _data(response)
    if isinstance(data, dict) and set(data) == {"error"} and data["error"] in conf.PROBLEM_VERBATIM:
        return response
    replacement = _problem(response.status_code, data, in_body=request.method not in SAFE_METHODS)
    for name, value in response.headers.items():
        if name.lower() not in _BODY_HEADERS:
            replacement.headers[name] = value
    replacement.cookies = response.cookies
    # Django logs an error response once, and has already logged this one.
    replacement._has_been_logged = getattr(response, "_has_been_logged", False)  # type: ignore[attr-defined]
    # Closing the original here would end the request too early for servers and the test client.
    replacement._resource_closers += response._resource_closers  # type: ignore[attr-defined]
    return replacement


def _data(response: HttpResponseBase) -> object:
    data = getattr(response, "data", None)
    if data is None and not response.streaming and "json" in response.headers.get("Content-Type", ""):
        try:
            data = json.loads(response.content)  # type: ignore[attr-defined]  # responses that do not stream have it
        except ValueError:
            return None
    return data


def _problem(status: int, data: object, *, in_body: bool) -> ProblemResponse:
    # The body of a server error is dropped, because it may be a traceback.
    if not isinstance(data, dict | list) or not data or status >= 500:
        return problem(status)
    if has_message(data):
        return from_message(status, data)
    return problem(status, "invalid" if status == 400 else "", errors=errors(data, in_body=in_body))


def has_message(detail: object) -> TypeGuard[Mapping[str, Any]]:
    """Return whether ``detail`` is an object with one text, ``{"detail": "…"}``, and not one with errors by field."""
    return isinstance(detail, Mapping) and isinstance(detail.get("detail"), str | Promise)


def from_message(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> ProblemResponse:
    """Return the problem for a body that ``has_message``. Its other members become extensions."""
    declared = body.get("code") or getattr(body["detail"], "code", None)
    code = declared if isinstance(declared, str) else ""
    extensions = {name: value for name, value in body.items() if name not in ("code", "detail")}
    return problem(status, code, body["detail"], headers=headers, extensions=extensions)


def errors(detail: object, *, in_body: bool) -> Iterator[dict[str, Any]]:
    """Flatten REST framework's nested error details to the members of ``errors``.

    Each has a JSON pointer into the body; or, for a request without a body, the name of a query parameter.
    """
    for path, code, message in _leaves(detail):
        if in_body:
            yield {"code": code, "detail": message, "pointer": pointer(path)}
        elif path:
            yield {"code": code, "detail": message, "parameter": str(path[0])}
        else:
            yield {"code": code, "detail": message}


def _leaves(detail: object, path: Path = ()) -> Iterator[tuple[Path, str, str]]:
    """Yield ``(path, code, message)``. Non-field errors have the path of their object."""
    if isinstance(detail, Mapping):
        for key, value in detail.items():
            is_non_field = key in (api_settings.NON_FIELD_ERRORS_KEY, "__all__")
            yield from _leaves(value, path if is_non_field else (*path, key))
    elif isinstance(detail, Sequence) and not isinstance(detail, str | bytes):
        nested = any(isinstance(item, Mapping | list | tuple) for item in detail)
        for index, item in enumerate(detail):
            # Both the messages of a field and the items of a list are lists; only items have an index in the path.
            yield from _leaves(item, (*path, index) if nested else path)
    else:
        yield path, str(getattr(detail, "code", None) or "invalid"), force_str(detail)


def pointer(path: Path) -> str:
    """Return an RFC 6901 URI fragment such as ``#/items/0/sku``. ``#`` is the whole body."""
    return "#" + "".join(
        f"/{quote(str(part).replace('~', '~0').replace('/', '~1'), errors='replace')}" for part in path
    )
