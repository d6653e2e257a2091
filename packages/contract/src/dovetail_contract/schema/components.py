"""The shared components of all operations."""

from __future__ import annotations

from typing import Any

from dovetail_contract.conf import conf
from dovetail_contract.problems.builder import MAX_ERRORS, MEDIA_TYPE, problem
from dovetail_contract.problems.catalogue import CODES, phrase, problem_types
from dovetail_core import context

_ID = "019aa6a5c0de7f00b5d5a1b2c3d4e5f6"


def reference(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


#: The names of the shared error responses by status.
RESPONSES = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    409: "Conflict",
    410: "Gone",
    413: "PayloadTooLarge",
    415: "UnsupportedMediaType",
    422: "UnprocessableContent",
    429: "TooManyRequests",
    500: "InternalServerError",
    503: "ServiceUnavailable",
}
#: The response 400 of views that may return a value of ``CONTRACT_PROBLEM_VERBATIM``.
VERBATIM = "BadRequestOrRefusal"
_EXAMPLE_CODES = {400: "invalid", 422: "idempotency_key_reused"}
_RETRY = {429, 503}

LIMITED = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "RateLimit-Policy", "RateLimit")


def headers() -> dict[str, Any]:
    def header(description: str, schema: dict[str, Any], example: str | int) -> dict[str, Any]:
        return {"description": description, "schema": schema, "example": example}

    text, number = {"type": "string"}, {"type": "integer", "minimum": 0}
    return {
        "X-Request-ID": header("The id of the request, which logs and errors repeat.", text, _ID),
        "X-RateLimit-Limit": header("The tightest limit, in requests per window.", number, 600),
        "X-RateLimit-Remaining": header("The number of remaining requests.", number, 599),
        "RateLimit-Policy": header("All limits of the request.", text, '"user";q=600;w=60'),
        "RateLimit": header("Remaining requests and seconds until the reset.", text, '"user";r=599;t=1'),
        "Retry-After": header("The number of seconds to wait.", {"type": "integer", "minimum": 1}, 1),
        "WWW-Authenticate": header("The accepted authentication schemes.", text, 'Bearer realm="api"'),
        "Link": header("Next and previous page (RFC 8288).", text, '<https://api.example/things?cursor=A>; rel="next"'),
        "Preference-Applied": header("Present if the total was counted (RFC 7240).", text, "return=total-count"),
        "Idempotent-Replayed": header("`true` if this is the stored response to an earlier request.", text, "true"),
        "Deprecation": header("The time of the deprecation (RFC 9745).", text, "@1793491200"),
        "Sunset": header("The time of the removal (RFC 8594).", text, "Sat, 01 May 2027 00:00:00 GMT"),
    }


def parameters() -> dict[str, Any]:
    key: dict[str, Any] = {"type": "string", "format": "idempotency-key", "minLength": 1, "maxLength": 255}
    return {
        "IdempotencyKey": {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "A retry with the same key has no second effect and returns the same response. "
            "Visible ASCII characters without a comma.",
            "schema": {**key, "pattern": "^[!-+\\--~]{1,255}$"},
            "example": "8e03978e-40d5-43e8-bc93-6894a57f9324",
        }
    }


def _text(description: str, example: str) -> dict[str, str]:
    return {"type": "string", "description": description, "example": example}


def schemas() -> dict[str, Any]:
    text = {"type": "string"}
    error = {
        "type": "object",
        "description": "A mistake in the request.",
        "required": ["code", "detail"],
        "properties": {
            "code": _text("A stable code for programs.", "required"),
            "detail": _text("An explanation for people.", "This field is required."),
            "pointer": _text("The location in the body, as an RFC 6901 fragment.", "#/lines/0/quantity"),
            "parameter": _text("The query parameter.", "limit"),
            "header": _text("The header.", "Idempotency-Key"),
            "allowed": {"type": "array", "items": text, "description": "The allowed values."},
        },
    }
    described: dict[str, tuple[dict[str, Any], str]] = {
        "type": ({**text, "format": "uri-reference"}, "The URL of a page about the code, or about:blank."),
        "title": (text, "A summary of the code."),
        "status": ({"type": "integer", "minimum": 400, "maximum": 599}, "The HTTP status."),
        "detail": (text, "An explanation of this occurrence."),
        "instance": ({**text, "format": "uri-reference"}, "Identifies this occurrence."),
        "code": (text, "A stable code for programs."),
        "request_id": (text, "The id to quote in support requests."),
        "errors": (
            {"type": "array", "items": reference("schemas", "ProblemError"), "maxItems": MAX_ERRORS},
            "All mistakes in the request.",
        ),
    }
    example = _example(404)
    properties: dict[str, Any] = {
        name: {**schema, "description": description, "example": example[name]}
        for name, (schema, description) in described.items()
    }
    body = {
        "type": "object",
        "description": "An error (RFC 9457). Some codes have additional members, such as `retry_after`.",
        "required": [*described],
        "properties": properties,
        "additionalProperties": True,
    }
    refusal = {
        "type": "object",
        "description": "A refusal without details.",
        "required": ["error"],
        "properties": {"error": {"type": "string", "enum": list(conf.PROBLEM_VERBATIM)}},
    }
    components: dict[str, Any] = {"Problem": body, "ProblemError": error}
    return {**components, "Refusal": refusal} if conf.PROBLEM_VERBATIM else components


def responses() -> dict[str, Any]:
    shared = {name: _response(status) for status, name in RESPONSES.items()}
    if conf.PROBLEM_VERBATIM:
        both = _response(400)
        example = {"error": conf.PROBLEM_VERBATIM[0]}
        both["content"]["application/json"] = {"schema": reference("schemas", "Refusal"), "example": example}
        shared[VERBATIM] = both
    return shared


def _response(status: int) -> dict[str, Any]:
    names = ["X-Request-ID", *(["Retry-After"] if status in _RETRY else [])]
    codes = [f"`{entry.code}`" for entry in problem_types().values() if entry.status == status]
    return {
        "description": f"{phrase(status)}: {', '.join(codes)}." if codes else f"{phrase(status)}.",
        "headers": {name: reference("headers", name) for name in names},
        "content": problem_content(status),
    }


def problem_content(status: int) -> dict[str, Any]:
    return {MEDIA_TYPE: {"schema": reference("schemas", "Problem"), "example": _example(status)}}


def _example(status: int) -> dict[str, Any]:
    # Rendered by the code that renders errors, so that the two cannot differ.
    code = _EXAMPLE_CODES.get(status, CODES.get(status, ""))
    mistakes = [{"code": "required", "detail": "This field is required.", "pointer": "#/name"}] if status == 400 else []
    with context.bind(request_id=_ID):
        return problem(status, code, errors=mistakes).data
