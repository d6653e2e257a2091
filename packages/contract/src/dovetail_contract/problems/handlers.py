"""Converts exceptions to problems: DRF's ``EXCEPTION_HANDLER``, and Django's handlers for errors outside of views."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import DisallowedHost, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from django.views import csrf, defaults
from rest_framework import exceptions
from rest_framework.exceptions import APIException

from dovetail_contract.conf import conf
from dovetail_contract.correlation.callers import remember_organization
from dovetail_contract.problems.builder import Problem, ProblemResponse, problem
from dovetail_contract.problems.catalogue import CODES
from dovetail_contract.problems.flatten import errors
from dovetail_contract.problems.outages import RETRY_AFTER, is_outage

logger = logging.getLogger(__name__)

# Codes of DRF that have another name in the registry.
_RENAMED = {"throttled": "rate_limited", "error": "internal_error"}


def is_api(request: HttpRequest) -> bool:
    return request.path_info.startswith(tuple(conf.API_PATHS))


def exception_handler(exc: Exception, context: Mapping[str, Any]) -> ProblemResponse | None:
    """For ``REST_FRAMEWORK["EXCEPTION_HANDLER"]``. Other exceptions go to Django, which calls ``handler500``."""
    request = context.get("request")
    if request is not None:
        # process_template_response is not called for an exception.
        remember_organization(getattr(request, "_request", request))
    response = _answer(exc, request)
    if response is not None:
        if response.status_code == 401 and "WWW-Authenticate" not in response.headers:
            _challenge(response, context.get("view"), request)
        # Late: rest_framework.views imports the throttle class, which imports problems.
        from rest_framework.views import set_rollback

        set_rollback()
    return response


def _challenge(response: ProblemResponse, view: Any, request: Any) -> None:
    """RFC 9110 11.6.1: a 401 has ``WWW-Authenticate``, also a 401 that REST framework has not raised."""
    get_header = getattr(view, "get_authenticate_header", None)
    if get_header is not None and (header := get_header(request)):
        response.headers["WWW-Authenticate"] = header


def _answer(exc: Exception, request: Any) -> ProblemResponse | None:
    if isinstance(exc, Problem):
        return problem(
            exc.status_code, exc.code, exc.detail, errors=exc.errors, headers=exc.headers, extensions=exc.extensions
        )
    if isinstance(exc, APIException):
        return from_api_exception(exc, request)
    if isinstance(exc, Http404):
        return problem(404)
    if isinstance(exc, PermissionDenied):
        return problem(403)
    if isinstance(exc, SuspiciousOperation):
        return _suspicious(exc)
    if is_outage(exc):
        return _outage(exc)
    return None


def from_api_exception(exc: APIException, request: Any = None) -> ProblemResponse:
    headers = {}
    if header := getattr(exc, "auth_header", None):
        headers["WWW-Authenticate"] = header
    extensions: dict[str, Any] = dict(getattr(exc, "extensions", {}))
    if (wait := getattr(exc, "wait", None)) is not None:
        # Rounded up: a client that returns a moment too early is refused again.
        headers["Retry-After"] = str(max(1, math.ceil(wait)))
        extensions["retry_after"] = max(1, math.ceil(wait))
    if isinstance(exc, exceptions.ValidationError) or isinstance(exc.detail, list | dict):
        return _validation(exc, request, headers)
    if str(exc.detail).startswith("CSRF Failed:"):  # of SessionAuthentication, which has no own code for it
        return problem(403, "csrf_failed")
    code = _RENAMED.get(code := str(exc.get_codes()), code)
    return problem(exc.status_code, code, exc.detail, headers=headers, extensions=extensions)


def _validation(exc: APIException, request: Any, headers: Mapping[str, str]) -> ProblemResponse:
    if isinstance(exc.detail, dict) and set(exc.detail) >= {"detail", "code"}:
        # simplejwt's exceptions have a whole body as their detail.
        return problem(exc.status_code, str(exc.detail["code"]), exc.detail["detail"], headers=headers)
    in_body = getattr(request, "method", "POST") not in ("GET", "HEAD", "OPTIONS")
    members = list(errors(exc.detail, in_body=in_body))
    if exc.status_code != 400:
        detail = members[0]["detail"] if members else ""
        return problem(exc.status_code, CODES.get(exc.status_code, ""), detail, errors=members, headers=headers)
    detail = members[0]["detail"] if len(members) == 1 else ""
    return problem(400, "invalid" if in_body else "invalid_query", detail, errors=members, headers=headers)


def _suspicious(exc: BaseException | None) -> ProblemResponse:
    if isinstance(exc, RequestDataTooBig):
        return problem(413)
    if isinstance(exc, DisallowedHost):
        return problem(400, "host_not_allowed")
    return problem(400)


def _outage(exc: BaseException) -> ProblemResponse:
    logger.error("Something that the service rests on is away: %s", type(exc).__name__, exc_info=exc)
    return problem(503, headers={"Retry-After": str(RETRY_AFTER)})


def handler400(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _suspicious(exception) if is_api(request) else defaults.bad_request(request, exception)  # type: ignore[arg-type]


def handler403(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return problem(403) if is_api(request) else defaults.permission_denied(request, exception)  # type: ignore[arg-type]


def handler404(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return problem(404) if is_api(request) else defaults.page_not_found(request, exception)


def handler500(request: HttpRequest) -> HttpResponse:
    """The response has no detail of the exception. Django has logged it, with the request's id if the log has one."""
    if not is_api(request):
        return defaults.server_error(request)
    exc = sys.exc_info()[1]
    return _outage(exc) if exc is not None and is_outage(exc) else problem(500)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """For ``CSRF_FAILURE_VIEW``. The reason, which names trusted origins, is only in Django's log."""
    return problem(403, "csrf_failed") if is_api(request) else csrf.csrf_failure(request, reason)
