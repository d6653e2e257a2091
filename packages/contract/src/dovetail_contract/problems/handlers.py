"""Converts exceptions to problems: REST framework's ``EXCEPTION_HANDLER``, and Django's error handlers."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import DisallowedHost, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.views import csrf, defaults
from rest_framework import exceptions
from rest_framework.exceptions import APIException
from rest_framework.request import Request

from dovetail_contract.conf import is_api
from dovetail_contract.correlation import remember_organization
from dovetail_contract.problems.builder import Problem, ProblemResponse, problem
from dovetail_contract.problems.catalogue import CODES
from dovetail_contract.problems.conversion import SAFE_METHODS, errors

logger = logging.getLogger(__name__)

# REST framework's codes that have another name in the registry.
_RENAMED = {"throttled": "rate_limited", "error": "internal_error"}

#: The seconds in ``Retry-After`` when a service such as the database is unavailable.
RETRY_AFTER = 5

# PostgreSQL: connection lost or refused, server starting or shutting down, out of connections, deadlock, serialization
# failure, statement timeout. A missing column is 42xxx, a defect in the code.
_POSTGRES = ("08", "57P", "53", "40", "57014")
# MariaDB and MySQL: too many connections, cannot connect, gone away, lost, lock wait timeout, deadlock.
_MYSQL = {1040, 1205, 1213, 2002, 2003, 2006, 2013}
_SQLITE = ("database is locked", "database table is locked", "unable to open database file", "disk i/o error")


def exception_handler(exc: Exception, context: Mapping[str, Any]) -> ProblemResponse | None:
    """For ``REST_FRAMEWORK["EXCEPTION_HANDLER"]``. Unexpected exceptions go to Django, which calls ``handler500``."""
    request = context.get("request")
    if request is not None:
        # Django does not call process_template_response after an exception.
        remember_organization(getattr(request, "_request", request))
    response = _answer(exc, request)
    if response is not None:
        if response.status_code == 401 and "WWW-Authenticate" not in response.headers:
            # RFC 9110 11.6.1 requires WWW-Authenticate on every 401, also on one that a view raises itself.
            get_header = getattr(context.get("view"), "get_authenticate_header", None)
            if get_header is not None and (header := get_header(request)):
                response.headers["WWW-Authenticate"] = header
        # Imported late: rest_framework.views imports the throttle class, which imports this module.
        from rest_framework.views import set_rollback

        set_rollback()
    return response


def _answer(exc: Exception, request: Request | None) -> ProblemResponse | None:
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


def from_api_exception(exc: APIException, request: Request | None = None) -> ProblemResponse:
    headers = {}
    if header := getattr(exc, "auth_header", None):
        headers["WWW-Authenticate"] = header
    extensions: dict[str, Any] = dict(getattr(exc, "extensions", {}))
    if (wait := getattr(exc, "wait", None)) is not None:
        # Rounded up, because a client that returns a moment too early would be refused again.
        headers["Retry-After"] = str(max(1, math.ceil(wait)))
        extensions["retry_after"] = max(1, math.ceil(wait))
    if isinstance(exc, exceptions.ValidationError) or isinstance(exc.detail, list | dict):
        return _validation(exc, request, headers)
    if str(exc.detail).startswith("CSRF Failed:"):  # SessionAuthentication has no code for it
        return problem(403, "csrf_failed")
    code = _RENAMED.get(code := str(exc.get_codes()), code)
    return problem(exc.status_code, code, exc.detail, headers=headers, extensions=extensions)


def _validation(exc: APIException, request: Request | None, headers: Mapping[str, str]) -> ProblemResponse:
    if isinstance(exc.detail, dict) and set(exc.detail) >= {"detail", "code"}:
        # The detail of simplejwt's exceptions is a whole response body.
        return problem(exc.status_code, str(exc.detail["code"]), exc.detail["detail"], headers=headers)
    in_body = getattr(request, "method", "POST") not in SAFE_METHODS
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


def is_outage(error: BaseException) -> bool:
    """Return whether the same request can succeed once the database or Redis is available again."""
    if not isinstance(error, InterfaceError | OperationalError):
        # By name, because the library is optional.
        names = {f"{cls.__module__.partition('.')[0]}.{cls.__name__}" for cls in type(error).__mro__}
        return bool(names & {"redis.ConnectionError", "redis.TimeoutError"})
    cause = error.__cause__ or error
    module = type(cause).__module__
    if module.startswith("psycopg"):
        state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
        return state is None or str(state).startswith(_POSTGRES)
    if module.startswith("sqlite3"):
        return any(words in str(cause).lower() for words in _SQLITE)
    number = error.args[0] if error.args else None
    return isinstance(error, InterfaceError) or number in _MYSQL


def _outage(exc: BaseException) -> ProblemResponse:
    logger.error("A required service is unavailable: %s", type(exc).__name__, exc_info=exc)
    return problem(503, headers={"Retry-After": str(RETRY_AFTER)})


def handler400(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _suspicious(exception) if is_api(request) else defaults.bad_request(request, exception)  # type: ignore[arg-type]


def handler403(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return problem(403) if is_api(request) else defaults.permission_denied(request, exception)  # type: ignore[arg-type]


def handler404(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return problem(404) if is_api(request) else defaults.page_not_found(request, exception)


def handler500(request: HttpRequest) -> HttpResponse:
    """Return a response without details of the exception, which Django has logged."""
    if not is_api(request):
        return defaults.server_error(request)
    exc = sys.exc_info()[1]
    return _outage(exc) if exc is not None and is_outage(exc) else problem(500)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """For ``CSRF_FAILURE_VIEW``. The reason is only in Django's log, because it may name trusted origins."""
    return problem(403, "csrf_failed") if is_api(request) else csrf.csrf_failure(request, reason)
