"""Converts error details and error responses of other shapes to problems: REST framework's, Django's, a view's own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.encoding import force_str
from rest_framework.settings import api_settings

from dovetail_contract.conf import conf
from dovetail_contract.problems.builder import MEDIA_TYPE, ProblemResponse, problem

_BODY_HEADERS = {"content-type", "content-length", "content-encoding", "content-language", "etag", "last-modified"}
#: Methods whose errors name query parameters and not members of the body.
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

Path = tuple[str | int, ...]


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
    if isinstance(data, dict) and isinstance(data.get("detail"), str):
        code = data.get("code") or getattr(data["detail"], "code", None)
        return problem(status, code if isinstance(code, str) else "", data["detail"])
    return problem(status, "invalid" if status == 400 else "", errors=errors(data, in_body=in_body))


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
