"""The registry of problem types.

Titles and descriptions are translated; codes and ``type`` URIs never are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType

from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from dovetail_contract.conf import conf


@dataclass(frozen=True, slots=True)
class ProblemType:
    """``title`` is the same for every occurrence, apart from its translation (RFC 9457 3.1.3)."""

    code: str
    status: int
    title: str | Promise
    description: str | Promise = ""


_registered: dict[str, ProblemType] = {}


def register_problem(code: str, *, status: int, title: str | Promise, description: str | Promise = "") -> ProblemType:
    """Register a problem type. The page at the URL in ``type`` shows ``description``.

    Another registration of the same code replaces it. Raise ``ValueError`` for a code that is not in snake_case or a
    status that is not an error. ``title`` and ``description`` may be lazy translations.
    """
    if not code.isidentifier() or code != code.lower() or not 400 <= status <= 599:
        raise ValueError(f"A problem has a code in snake_case and a status from 400 to 599, not {code!r}, {status!r}.")
    _registered[code] = ProblemType(code, status, title, description)
    return _registered[code]


def problem_types() -> Mapping[str, ProblemType]:
    """Return all types by code. ``CONTRACT_PROBLEM_TYPES`` overrides registered types."""
    configured = {code: ProblemType(code, **fields) for code, fields in conf.PROBLEM_TYPES.items()}
    return MappingProxyType({**_registered, **configured})


def problem_type(code: str) -> ProblemType | None:
    fields = conf.PROBLEM_TYPES.get(code)
    return ProblemType(code, **fields) if fields is not None else _registered.get(code)


def type_uri(code: str) -> str:
    """Return the ``type`` member: the URL of a page, or ``about:blank`` (RFC 9457 4.2.1)."""
    if problem_type(code) is None:
        return "about:blank"
    if conf.PROBLEM_BASE_URL:
        return f"{conf.PROBLEM_BASE_URL.rstrip('/')}/problems/{code}"
    try:
        return reverse("dovetail_contract:problem", args=[code])
    except NoReverseMatch:
        return "about:blank"


def phrase(status: int) -> str:
    """Return the title of a problem without a type: HTTP's reason phrase, as RFC 9457 4.2.1 recommends."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


_OWN = {
    "bad_request": (400, _("Bad request"), _("The request is malformed.")),
    "parse_error": (400, _("The body cannot be parsed"), _("The body does not match its Content-Type.")),
    "invalid": (400, _("Invalid input"), _("`errors` lists every mistake, with a pointer into the body.")),
    "invalid_query": (
        400,
        _("Invalid query"),
        _("A parameter is unknown, repeated or invalid. `errors` lists every mistake and the valid values."),
    ),
    "invalid_cursor": (
        400,
        _("Invalid cursor"),
        _("A cursor is valid only for the list, filters, order and organization for which it was created."),
    ),
    "page_too_deep": (400, _("Page number too high"), _("Follow `meta.next`, or use filters to shorten the list.")),
    "host_not_allowed": (400, _("Host not allowed"), _("The Host header names a host that does not serve this API.")),
    "authentication_failed": (401, _("Invalid credentials"), _("The credentials are wrong, expired or revoked.")),
    "not_authenticated": (401, _("Authentication required"), _("The operation requires credentials.")),
    "permission_denied": (403, _("Permission denied"), _("The credentials do not permit this operation.")),
    "csrf_failed": (
        403,
        _("CSRF verification failed"),
        _("A request with a session cookie needs a CSRF token and a trusted origin."),
    ),
    "not_found": (404, _("Not found"), _("The resource does not exist, or the credentials do not give access to it.")),
    "version_unknown": (404, _("Unknown API version"), _("`versions` lists the available versions.")),
    "method_not_allowed": (405, _("Method not allowed"), _("The `Allow` header lists the allowed methods.")),
    "not_acceptable": (406, _("Not acceptable"), _("The `Accept` header names no available media type.")),
    "conflict": (409, _("Conflict"), _("The current state of the resource does not permit this operation.")),
    "idempotency_key_required": (
        400,
        _("Idempotency-Key required"),
        _("Send an Idempotency-Key header, and repeat its value when you retry."),
    ),
    "idempotency_key_invalid": (
        400,
        _("Invalid Idempotency-Key"),
        _("Send one Idempotency-Key header with 1 to 255 visible ASCII characters and no comma."),
    ),
    "idempotency_in_progress": (
        409,
        _("The first request is still in progress"),
        _("Retry after the number of seconds in `Retry-After`."),
    ),
    "idempotency_outcome_unknown": (
        409,
        _("The outcome of the first request is unknown"),
        _("Check whether it took effect before you try again."),
    ),
    "idempotency_not_replayable": (
        409,
        _("The request was completed, but its response was not stored"),
        _("The response was too large to store, or confidential. Retrieve the resource instead."),
    ),
    "idempotency_key_reused": (
        422,
        _("Idempotency-Key already used for another request"),
        _("Use a new key for a new request."),
    ),
    "gone": (410, _("Gone"), _("The resource is no longer available.")),
    "version_sunset": (410, _("No longer supported"), _("The `Link` header names the successor, if there is one.")),
    "payload_too_large": (413, _("Request body too large"), _("Send a smaller body.")),
    "unsupported_media_type": (415, _("Unsupported media type"), _("Send a media type that the schema lists.")),
    "rate_limited": (429, _("Too many requests"), _("Wait for the number of seconds in `Retry-After`.")),
    "internal_error": (500, _("Internal server error"), _("The error is logged under the request id.")),
    "unavailable": (503, _("Service temporarily unavailable"), _("A required service does not respond.")),
}
for _code, (_status, _title, _description) in _OWN.items():
    register_problem(_code, status=_status, title=_title, description=_description)

#: The default codes by status.
CODES = MappingProxyType(
    {
        400: "bad_request",
        401: "not_authenticated",
        402: "payment_required",
        403: "permission_denied",
        404: "not_found",
        405: "method_not_allowed",
        406: "not_acceptable",
        408: "request_timeout",
        409: "conflict",
        410: "gone",
        411: "length_required",
        412: "precondition_failed",
        413: "payload_too_large",
        414: "uri_too_long",
        415: "unsupported_media_type",
        416: "range_not_satisfiable",
        422: "unprocessable_content",
        423: "locked",
        425: "too_early",
        428: "precondition_required",
        429: "rate_limited",
        431: "headers_too_large",
        451: "unavailable_for_legal_reasons",
        500: "internal_error",
        501: "not_implemented",
        502: "bad_gateway",
        503: "unavailable",
        504: "gateway_timeout",
    }
)
