"""Validates responses and requests against an OpenAPI document, and explains every mismatch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.http import HttpResponseBase
from django.utils import translation
from jsonschema import FormatChecker
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.protocols import Validator

from dovetail_contract.testing.formats import formats as default_formats
from dovetail_contract.testing.operations import Content, Operation, Operations, Response, media_type

_MAX_ERRORS = 20
_MAX_LENGTH = 120
_HINT = (
    "Fix the view or its serializer, or describe the response with extend_schema. Put a request that is wrong on "
    "purpose in `with unchecked():`."
)


@dataclass(frozen=True)
class Exchange:
    """A request and its response. ``body`` is None for a stream, ``sent`` is None if the request is not checked."""

    method: str
    path: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = b""
    sent: bytes | None = None
    sent_type: str = ""

    @classmethod
    def of(cls, response: HttpResponseBase, *, sent: bytes | None = None) -> Exchange:
        """Return the exchange of a response from Django's test clients, sync or async."""
        request = getattr(response, "wsgi_request", None) or response.asgi_request  # type: ignore[attr-defined]
        return cls(
            method=request.method,
            path=request.path_info,
            status=response.status_code,
            headers=response.headers,
            body=None if response.streaming else response.content,  # type: ignore[attr-defined]
            sent=sent,
            sent_type=request.META.get("CONTENT_TYPE", ""),
        )

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), None)


class SchemaMismatch(AssertionError):
    """A response, or a request that was accepted, does not match the document. ``errors`` lists every mismatch."""

    def __init__(self, summary: str, errors: list[str]) -> None:
        self.errors = errors
        super().__init__("\n".join([f"{summary}:", *(f"  {error}" for error in errors), _HINT]))


class Schema:
    """An OpenAPI 3.0 or 3.1 document. Validators are created when they are first needed.

    ``formats`` replaces the checks of ``format``; see ``dovetail_contract.testing.formats``.
    """

    def __init__(self, document: Mapping[str, Any], *, formats: FormatChecker | None = None) -> None:
        version = document.get("openapi", document.get("swagger"))
        if not str(version).startswith("3."):
            raise ValueError(f"The document has OpenAPI version {version}; supported are 3.0 and 3.1.")
        self.document = document
        self._operations = Operations(document, formats or default_formats())

    @classmethod
    def from_file(cls, path: str | Path, *, formats: FormatChecker | None = None) -> Schema:
        """Load a document in JSON or YAML, such as one that a project keeps in its repository."""
        text = Path(path).read_text()
        if str(path).endswith(".json"):
            return cls(json.loads(text), formats=formats)
        import yaml  # a dependency of drf-spectacular

        # Through JSON, because YAML has dates, and numbers as keys.
        return cls(json.loads(json.dumps(yaml.safe_load(text), default=str)), formats=formats)

    @staticmethod
    def of_project() -> Schema:
        """Return drf-spectacular's document of the project, generated once per process and ``ROOT_URLCONF``."""
        return _of_urls(settings.ROOT_URLCONF)

    def check(self, exchange: Exchange, *, undocumented: frozenset[str] = frozenset(), requests: bool = False) -> None:
        """Raise ``SchemaMismatch`` unless the response, and with ``requests`` an accepted request, match the document.

        ``undocumented`` lists statuses that the document may omit: ``"404"``, ``"5XX"``.
        """
        method = exchange.method.upper()
        summary = f"{method} {exchange.path} answered {exchange.status}, which does not match the schema"
        may_omit = bool({str(exchange.status), f"{exchange.status // 100}XX"} & undocumented)
        operations = self._operations.at(exchange.path)
        if operations is None:
            if may_omit:
                return
            raise SchemaMismatch(summary, ["The schema does not have this path. Is it excluded or misspelt?"])
        operation = operations.get(method.lower()) or (operations.get("get") if method == "HEAD" else None)
        if operation is None:
            if may_omit or method == "OPTIONS":
                return  # REST framework and CORS answer OPTIONS, and no generator documents it
            allowed = ", ".join(sorted(operations)).upper() or "none"
            raise SchemaMismatch(summary, [f"The schema does not have {method} for this path, only {allowed}."])
        errors = list(self._errors(exchange, operation, may_omit, requests))
        if errors:
            more = ["… and more."] if len(errors) > _MAX_ERRORS else []
            raise SchemaMismatch(f"{summary} (operation {operation.name})", [*errors[:_MAX_ERRORS], *more])

    def _errors(self, exchange: Exchange, operation: Operation, may_omit: bool, requests: bool) -> Iterator[str]:
        response = operation.response(exchange.status)
        if response is not None:
            yield from _header_errors(exchange, response)
            yield from _body_errors(exchange, response.content)
        elif not may_omit:
            yield f"Status {exchange.status} is not documented. Documented: {', '.join(operation.responses)}."
        # A refused request may be invalid; an accepted one must be valid.
        if requests and exchange.sent and 200 <= exchange.status < 300:
            yield from _request_errors(exchange.sent, exchange.sent_type, operation.request)


@lru_cache
def _of_urls(urlconf: str) -> Schema:
    from drf_spectacular.drainage import GENERATOR_STATS
    from drf_spectacular.settings import spectacular_settings

    # With full paths, and untranslated.
    spectacular: Any = spectacular_settings  # which has no types
    spectacular.apply_patches({"SCHEMA_PATH_PREFIX_TRIM": False, "SCHEMA_PATH_PREFIX_INSERT": ""})
    try:
        with GENERATOR_STATS.silence(), translation.override(None):
            generator = spectacular.DEFAULT_GENERATOR_CLASS(urlconf=urlconf)
            document = generator.get_schema(request=None, public=True)
    finally:
        spectacular.clear_patches()
    return Schema(json.loads(json.dumps(document, default=str)))


def _header_errors(exchange: Exchange, response: Response) -> Iterator[str]:
    for header in response.headers:
        text = exchange.header(header.name)
        if text is None:
            if header.required:
                yield f"The required header {header.name} is missing."
        elif header.validator is not None:
            yield from _validate(header.validator, header.parse(text), f"Header {header.name}")


def _body_errors(exchange: Exchange, content: Content) -> Iterator[str]:
    if exchange.method.upper() == "HEAD":
        return
    content_type = exchange.header("Content-Type") or ""
    if not content:
        if exchange.body is None or exchange.body:
            yield f"The body has {_label(content_type)}, but the schema has no body for this status."
    elif exchange.body == b"":
        yield f"The body is empty, but the schema has {content}."
    elif (name := content.find(content_type)) is None:
        yield f"The body has {_label(content_type)}, but the schema has {content}."
    # Only the test may read a stream.
    elif exchange.body is not None and (validator := content.validator(name)) is not None:
        yield from _content_errors(exchange.body, content_type, validator, "#")


def _request_errors(sent: bytes, content_type: str, content: Content | None) -> Iterator[str]:
    if content is None:
        return  # a body that the operation ignores
    if (name := content.find(content_type)) is None:
        yield f"The request had {_label(content_type)} and was accepted, but the schema has {content}."
    elif (validator := content.validator(name)) is not None:
        yield from _content_errors(sent, content_type, validator, "Accepted request: #")


def _label(content_type: str) -> str:
    return media_type(content_type) or "no media type"


def _content_errors(body: bytes, content_type: str, validator: Validator, location: str) -> Iterator[str]:
    kind = media_type(content_type)
    if kind.endswith(("/json", "+json")):
        try:
            value = json.loads(body, parse_constant=_reject_constant)
        except ValueError as error:
            yield f"{location}: {_shortened(body.decode(errors='replace'))} is not valid JSON: {error}."
            return
        yield from _validate(validator, value, location)
    elif kind.startswith("text/"):
        yield from _validate(validator, body.decode(errors="replace"), location)


def _reject_constant(text: str) -> NoReturn:
    # Python reads and writes NaN and Infinity; RFC 8259 and browsers do not allow them.
    raise ValueError(f"{text} is not a JSON number")


def _validate(validator: Validator, value: Any, location: str) -> Iterator[str]:
    for error in validator.iter_errors(value):
        # If no alternative matches, report the error of the closest one.
        closest = best_match([error]) or error
        path = "".join(f"/{part}" for part in closest.absolute_path)
        yield f"{location}{path}: {_explanation(closest)}"


def _explanation(error: ValidationError) -> str:
    value = _shortened(error.instance)
    allowed: Any = error.validator_value
    match error.validator:
        case "required":
            return f"{error.message}."
        case "additionalProperties" | "unevaluatedProperties":
            known = ", ".join(error.schema.get("properties", ())) if isinstance(error.schema, dict) else ""
            return f"{error.message.rstrip('.')}. Documented properties: {known or 'none'}."
        case "type":
            return f"{value} is not of type {' or '.join(allowed) if isinstance(allowed, list) else allowed}."
        case "enum":
            return f"{value} is not one of {', '.join(map(str, allowed))}."
        case "format":
            return f"{value} does not have the format {allowed}."
        case "not" if allowed == {}:
            return f"{value} must not be here, because the property is readOnly or writeOnly."
    return f"{value} does not match {error.validator} {_shortened(allowed)}."


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}…"
