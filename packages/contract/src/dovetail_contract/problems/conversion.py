"""Converts error responses of other shapes to problems: Django's HTML, a view's own JSON."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from dovetail_contract.conf import conf
from dovetail_contract.problems.builder import MEDIA_TYPE, ProblemResponse, problem
from dovetail_contract.problems.flatten import errors

# Headers that describe the replaced body.
_OF_THE_BODY = {"content-type", "content-length", "content-encoding", "etag", "last-modified"}


def converted(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """``response``, or the problem that replaces it. Headers and cookies stay."""
    if response.status_code < 400 or response.headers.get("Content-Type", "").startswith(MEDIA_TYPE):
        return response
    data = _data(response)
    if isinstance(data, dict) and set(data) == {"error"} and data["error"] in conf.PROBLEM_VERBATIM:
        return response
    replacement = _problem(response.status_code, data, in_body=request.method not in ("GET", "HEAD", "OPTIONS"))
    for name, value in response.headers.items():
        if name.lower() not in _OF_THE_BODY:
            replacement.headers[name] = value
    replacement.cookies = response.cookies
    # Django logs an error once, and has already.
    replacement._has_been_logged = getattr(response, "_has_been_logged", False)  # type: ignore[attr-defined]
    # The original is not closed here: that would end the request too early for servers and the test client.
    replacement._resource_closers += response._resource_closers  # type: ignore[attr-defined]
    return replacement


def _data(response: HttpResponseBase) -> Any:
    data = getattr(response, "data", None)
    if data is None and not response.streaming and "json" in response.headers.get("Content-Type", ""):
        try:
            data = json.loads(response.content)  # type: ignore[attr-defined]  # a response that does not stream has content
        except ValueError:
            return None
    return data


def _problem(status: int, data: Any, *, in_body: bool) -> ProblemResponse:
    # The body of a server error is dropped: it may be a traceback.
    if not isinstance(data, dict | list) or not data or status >= 500:
        return problem(status)
    if isinstance(data, dict) and isinstance(data.get("detail"), str):
        code = data.get("code") or getattr(data["detail"], "code", None)
        return problem(status, code if isinstance(code, str) else "", data["detail"])
    return problem(status, "invalid" if status == 400 else "", errors=errors(data, in_body=in_body))
