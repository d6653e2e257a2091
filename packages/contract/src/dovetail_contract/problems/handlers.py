"""Converts exceptions to problems: REST framework's ``EXCEPTION_HANDLER``, and Django's error handlers."""

from __future__ import annotations

import inspect
import logging
import math
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import DisallowedHost, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import Http404, HttpRequest, HttpResponse
from django.views import csrf, defaults
from rest_framework import exceptions
from rest_framework.exceptions import APIException
from rest_framework.request import Request

from dovetail_contract.conf import is_api
from dovetail_contract.correlation import remember_organization
from dovetail_contract.problems.builder import Problem, ProblemResponse, problem
from dovetail_contract.problems.catalogue import CODES
from dovetail_contract.problems.conversion import SAFE_METHODS, errors, from_message, has_message
from dovetail_core.transactions import Vanished, is_conflict, is_foreign_key_violation

logger = logging.getLogger(__name__)

# REST framework's codes that have another name in the registry.
_RENAMED = {"throttled": "rate_limited"}

#: The seconds in ``Retry-After`` when a service such as the database is unavailable.
RETRY_AFTER = 5

# PostgreSQL: connection lost or refused, server starting or shutting down, out of connections, deadlock, serialization
# failure, statement timeout. A missing column is 42xxx, a defect in the code.
_POSTGRES = ("08", "57P", "53", "40", "57014")
# MariaDB and MySQL: disk full, too many connections, table full, lock wait timeout, deadlock, cannot connect, gone
# away, lost.
_MYSQL = {1021, 1040, 1114, 1205, 1213, 2002, 2003, 2006, 2013}
_SQLITE = (
    "database is locked",
    "database table is locked",
    "unable to open database file",
    "disk i/o error",
    "database or disk is full",
)

# Without the wrapper of asgiref, whose code is that of every wrapped method.
_COMMIT = inspect.unwrap(BaseDatabaseWrapper.commit).__code__


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
        # Text and code, like REST framework's own handler. Further arguments are not for the client.
        return from_api_exception(exceptions.PermissionDenied(*exc.args[:2]), request)
    if isinstance(exc, SuspiciousOperation):
        return _suspicious(exc)
    if isinstance(exc, Vanished) and request is not None:
        # Imported late, like rest_framework.views above.
        from dovetail_core.rest.views import refusal_of_vanished

        return from_api_exception(refusal_of_vanished(request), request)
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
        return _validation(exc, request, headers, extensions)
    if str(exc.detail).startswith("CSRF Failed:"):  # SessionAuthentication has no code for it
        return problem(403, "csrf_failed")
    return problem(exc.status_code, _code(exc, exc.detail), exc.detail, headers=headers, extensions=extensions)


def _code(exc: APIException, detail: object) -> str:
    # A subclass that sets its own detail, such as a lazy text, may lack the code that get_codes() reads.
    code = str(getattr(detail, "code", None) or exc.default_code)
    if code == APIException.default_code:  # "error", of a subclass that only sets a status
        return CODES.get(exc.status_code, "")
    return _RENAMED.get(code, code)


def _validation(
    exc: APIException, request: Request | None, headers: Mapping[str, str], extensions: Mapping[str, Any]
) -> ProblemResponse:
    # The detail is a whole response body, like that of simplejwt's exceptions. A ValidationError without a code may be
    # about a field with the name "detail".
    if has_message(exc.detail) and ("code" in exc.detail or not isinstance(exc, exceptions.ValidationError)):
        declared = exc.detail.get("code")
        code = declared if isinstance(declared, str) else _code(exc, exc.detail["detail"])
        return from_message(exc.status_code, {**exc.detail, **extensions, "code": code}, headers)
    in_body = getattr(request, "method", "POST") not in SAFE_METHODS
    members = list(errors(exc.detail, in_body=in_body))
    if exc.status_code != 400:
        detail = members[0]["detail"] if members else ""
        code = CODES.get(exc.status_code, "")
        return problem(exc.status_code, code, detail, errors=members, headers=headers, extensions=extensions)
    detail = members[0]["detail"] if len(members) == 1 else ""
    code = "invalid" if in_body else "invalid_query"
    return problem(400, code, detail, errors=members, headers=headers, extensions=extensions)


def _suspicious(exc: BaseException | None) -> ProblemResponse:
    if isinstance(exc, RequestDataTooBig):
        return problem(413)
    if isinstance(exc, DisallowedHost):
        return problem(400, "host_not_allowed")
    return problem(400)


def is_outage(error: BaseException) -> bool:
    """Return whether the same request can succeed once the database or Redis is available again.

    That includes a request that lost a race: a deadlock, or a foreign key to a row that was deleted before the commit.
    A service repeats its own transaction (``retry_on_conflict``), but not one of ``ATOMIC_REQUESTS`` around it. A
    foreign key that a statement violates is a defect of the view, which each retry would repeat.
    """
    if is_conflict(error) or _is_violation_at_commit(error):
        return True
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


def _is_violation_at_commit(error: BaseException) -> bool:
    if not is_foreign_key_violation(error):
        return False
    return any(frame.f_code is _COMMIT for frame, _ in traceback.walk_tb(error.__traceback__))


def _outage(exc: BaseException) -> ProblemResponse:
    if is_conflict(exc):
        message = "The transaction conflicted with a parallel one: %s"
    elif is_foreign_key_violation(exc):
        # Not certainly a race: the view may have saved a key that never existed.
        message = "A foreign key refers to a missing row at the commit: %s"
    else:
        message = "A required service is unavailable: %s"
    logger.error(message, type(exc).__name__, exc_info=exc)
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
