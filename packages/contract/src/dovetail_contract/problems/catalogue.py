"""The registry of problem types: code, status, title, description and page of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType

from django.urls import NoReverseMatch, reverse

from dovetail_contract.conf import conf


@dataclass(frozen=True, slots=True)
class ProblemType:
    """``code`` in snake case, the status, a ``title`` that is the same for every occurrence (RFC 9457 3.1.3)."""

    code: str
    status: int
    title: str
    description: str = ""


_registered: dict[str, ProblemType] = {}


def register_problem(code: str, *, status: int, title: str, description: str = "") -> ProblemType:
    """Register a problem type. ``description`` is for the page at the URL in ``type``.

    A second registration of a code replaces the first. Raises ``ValueError`` for a code that is no identifier or a
    status below 400.
    """
    if not code.isidentifier() or code != code.lower() or not 400 <= status <= 599:
        raise ValueError(f"A problem has a code in snake_case and a status from 400 to 599; got {code!r}, {status!r}.")
    _registered[code] = ProblemType(code, status, title, description)
    return _registered[code]


def problem_types() -> Mapping[str, ProblemType]:
    """All types: those of this package, the registered ones, and those of ``CONTRACT_PROBLEM_TYPES``, which win."""
    configured = {code: ProblemType(code, **fields) for code, fields in conf.PROBLEM_TYPES.items()}
    return MappingProxyType({**_registered, **configured})


def problem_type(code: str) -> ProblemType | None:
    fields = conf.PROBLEM_TYPES.get(code)
    return ProblemType(code, **fields) if fields is not None else _registered.get(code)


def type_uri(code: str) -> str:
    """The ``type`` member: a URL of a page, else ``about:blank`` (RFC 9457 4.2.1)."""
    if problem_type(code) is None:
        return "about:blank"
    if conf.PROBLEM_BASE_URL:
        return f"{conf.PROBLEM_BASE_URL.rstrip('/')}/problems/{code}"
    try:
        return reverse("dovetail_contract:problem", args=[code])
    except NoReverseMatch:
        return "about:blank"


def phrase(status: int) -> str:
    """The title of a problem without a type: the reason phrase of HTTP."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


_OWN = {
    "bad_request": (400, "The request is malformed", "Something of the request is not as HTTP or the API has it."),
    "parse_error": (400, "The body cannot be read", "The body is not what its Content-Type says, or is cut off."),
    "invalid": (400, "The input is not valid", "`errors` has every mistake, each with a pointer into the body."),
    "invalid_query": (
        400,
        "The query is not valid",
        "A parameter is unknown, repeated, malformed or out of range. `errors` names every one, and what is allowed.",
    ),
    "invalid_cursor": (
        400,
        "Not a cursor of this list",
        "A cursor is good for the list, filters, order and organization that it was made for. Begin anew without one.",
    ),
    "page_too_deep": (400, "The page lies too deep", "Go on by `meta.next`, or narrow the list by a filter."),
    "host_not_allowed": (400, "The host is not served here", "The Host header names a host that this API is not at."),
    "authentication_failed": (401, "The credentials are not valid", "The credentials are wrong, expired or revoked."),
    "not_authenticated": (401, "Credentials are required", "The operation needs credentials, and none were given."),
    "permission_denied": (403, "Not permitted", "The credentials are good, but do not permit this."),
    "csrf_failed": (
        403,
        "The CSRF check failed",
        "A request with a session cookie needs the CSRF token and an origin that is trusted.",
    ),
    "not_found": (404, "Not found", "Nothing is here, or nothing that these credentials may know of."),
    "version_unknown": (404, "There is no such version", "`versions` has those that are served."),
    "method_not_allowed": (405, "The method is not allowed", "The `Allow` header names those that are."),
    "not_acceptable": (406, "No acceptable representation", "The `Accept` header names nothing that can be sent."),
    "conflict": (409, "Conflict", "The present state of the resource does not permit this."),
    "idempotency_key_required": (400, "An Idempotency-Key is required", "Send one, and the same one when you retry."),
    "idempotency_key_invalid": (400, "Not an Idempotency-Key", "One header of 1 to 255 visible ASCII characters."),
    "idempotency_in_progress": (409, "The first request is still running", "Ask again after `Retry-After` seconds."),
    "idempotency_outcome_unknown": (409, "What became of the first request is unknown", "Look before you try again."),
    "idempotency_not_replayable": (409, "Done, but the answer was not kept", "It was large, or secret. Look it up."),
    "idempotency_key_reused": (422, "The Idempotency-Key is another request's", "Use a new key for a new request."),
    "gone": (410, "Gone", "What was here is here no more."),
    "version_sunset": (410, "This is no longer served", "The `Link` header names what takes its place."),
    "payload_too_large": (413, "The body is too large", "Send less at once."),
    "unsupported_media_type": (415, "The media type is not supported", "Send one that the schema names."),
    "rate_limited": (
        429,
        "Too many requests",
        "`Retry-After` has the seconds to wait.",
    ),
    "internal_error": (500, "The server failed", "It is logged under the request's id. Trying again may help."),
    "unavailable": (503, "Temporarily unavailable", "A part the service rests on does not answer. Try again later."),
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
