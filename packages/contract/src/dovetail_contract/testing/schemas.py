"""Whether an answer is one that the schema describes; and if not, every way in which it is not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.utils import translation
from jsonschema import FormatChecker
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.protocols import Validator

from dovetail_contract.testing.exchanges import Exchange
from dovetail_contract.testing.formats import formats as our_formats
from dovetail_contract.testing.operations import Answer, Content, Operation, Operations, media_type

_MOST = 20
_LONGEST = 120
_REMEDY = (
    "Mend the view or its serializer, or say with extend_schema what it answers. A request that is wrong on purpose "
    "goes in `with unchecked():`."
)


class SchemaMismatch(AssertionError):
    """An answer, or a request that was accepted, is not as the schema says. ``found`` has every mistake."""

    def __init__(self, where: str, found: list[str]) -> None:
        self.found = found
        super().__init__("\n".join([f"{where}:", *(f"  {each}" for each in found), _REMEDY]))


class Schema:
    """An OpenAPI 3.0 or 3.1 document. Validators are made once, when something is first held against them.

    ``formats`` replaces what ``format`` means; see ``dovetail_contract.testing.formats``.
    """

    def __init__(self, document: Mapping[str, Any], *, formats: FormatChecker | None = None) -> None:
        version = document.get("openapi", document.get("swagger"))
        if not str(version).startswith("3."):
            raise ValueError(f"The document is of OpenAPI {version}; 3.0 and 3.1 can be held against.")
        self.document = document
        self._operations = Operations(document, formats or our_formats())

    @classmethod
    def from_file(cls, path: str | Path, *, formats: FormatChecker | None = None) -> Schema:
        """A document in JSON or YAML, such as the one that a project keeps with its code."""
        text = Path(path).read_text()
        if str(path).endswith(".json"):
            return cls(json.loads(text), formats=formats)
        import yaml  # drf-spectacular needs it too

        # Through JSON: YAML has dates and numbers for keys.
        return cls(json.loads(json.dumps(yaml.safe_load(text), default=str)), formats=formats)

    @staticmethod
    def of_project() -> Schema:
        """What drf-spectacular says of the project, made once a process for each ``ROOT_URLCONF``."""
        return _of_urls(settings.ROOT_URLCONF)

    def check(self, exchange: Exchange, *, undocumented: frozenset[str] = frozenset(), requests: bool = False) -> None:
        """Raise ``SchemaMismatch`` unless the answer, and with ``requests`` what was accepted, is as described.

        ``undocumented`` names statuses that need no description: ``"404"``, ``"5XX"``.
        """
        method = exchange.method.upper()
        where = f"{method} {exchange.path} answered {exchange.status}, which is not as the schema says"
        needless = bool({str(exchange.status), f"{exchange.status // 100}XX"} & undocumented)
        operations = self._operations.at(exchange.path)
        if operations is None:
            if needless:
                return
            raise SchemaMismatch(where, ["The schema has no such path. Is it left out, or misspelt?"])
        operation = operations.get(method.lower()) or (operations.get("get") if method == "HEAD" else None)
        if operation is None:
            if needless or method == "OPTIONS":
                return  # the latter is what REST framework and CORS answer of themselves; no generator documents it
            allowed = ", ".join(sorted(operations)).upper() or "none"
            raise SchemaMismatch(where, [f"The schema has no {method} for this path; it has {allowed}."])
        if found := list(self._mistakes(exchange, operation, needless, requests))[: _MOST + 1]:
            more = ["… and more."] if len(found) > _MOST else []
            raise SchemaMismatch(f"{where} (operation {operation.name})", [*found[:_MOST], *more])

    def _mistakes(self, exchange: Exchange, operation: Operation, needless: bool, requests: bool) -> Iterator[str]:
        answer = operation.answer(exchange.status)
        if answer is None:
            if not needless:
                said = ", ".join(operation.responses)
                yield f"Status {exchange.status} is not documented; documented are {said}."
        else:
            yield from _headers(exchange, answer)
            yield from _body(exchange, answer.content)
        # What was refused may be wrong; what was accepted must be allowed.
        if requests and exchange.sent and 200 <= exchange.status < 300:
            yield from _request(exchange.sent, exchange, operation)


@lru_cache
def _of_urls(urlconf: str) -> Schema:
    from drf_spectacular.drainage import GENERATOR_STATS
    from drf_spectacular.settings import spectacular_settings

    # Paths as they are asked for, and text in the language that the code is written in.
    spectacular: Any = spectacular_settings  # which has no types
    spectacular.apply_patches({"SCHEMA_PATH_PREFIX_TRIM": False, "SCHEMA_PATH_PREFIX_INSERT": ""})
    try:
        with GENERATOR_STATS.silence(), translation.override(None):
            generator = spectacular.DEFAULT_GENERATOR_CLASS(urlconf=urlconf)
            document = generator.get_schema(request=None, public=True)
    finally:
        spectacular.clear_patches()
    return Schema(json.loads(json.dumps(document, default=str)))


def _headers(exchange: Exchange, answer: Answer) -> Iterator[str]:
    for header in answer.headers:
        text = exchange.header(header.name)
        if text is None:
            if header.required:
                yield f"Header {header.name} is missing; the schema requires it."
        elif header.validator is not None:
            yield from _invalid(header.validator, header.read(text), f"Header {header.name}")


def _body(exchange: Exchange, content: Content) -> Iterator[str]:
    if exchange.method.upper() == "HEAD":
        return
    given = exchange.header("Content-Type") or ""
    if not content:
        if exchange.body is None or exchange.body:
            yield f"The body is {_type(given)}; the schema has none for this status."
    elif exchange.body == b"":
        yield f"The body is empty; the schema has {content}."
    elif (name := content.find(given)) is None:
        yield f"The body is {_type(given)}; the schema has {content}."
    # What is streamed belongs to who reads it: the test.
    elif exchange.body is not None and (validator := content.validator(name)) is not None:
        yield from _held(exchange.body, given, validator, "#")


def _request(sent: bytes, exchange: Exchange, operation: Operation) -> Iterator[str]:
    content = operation.request
    if content is None:
        return  # a body that nobody asks for is no lie: nothing is made of it
    if (name := content.find(exchange.sent_type)) is None:
        yield f"A body of {_type(exchange.sent_type)} was accepted; the schema takes {content}."
    elif (validator := content.validator(name)) is not None:
        yield from _held(sent, exchange.sent_type, validator, "Accepted, in the request: #")


def _type(given: str) -> str:
    return media_type(given) or "of no type"


def _held(body: bytes, given: str, validator: Validator, place: str) -> Iterator[str]:
    kind = media_type(given)
    if kind.endswith(("/json", "+json")):
        try:
            value = json.loads(body, parse_constant=_no_number)
        except ValueError as error:
            yield f"{place}: found what is no JSON ({error}): {_short(body.decode(errors='replace'))}."
            return
        yield from _invalid(validator, value, place)
    elif kind.startswith("text/"):
        yield from _invalid(validator, body.decode(errors="replace"), place)


def _no_number(text: str) -> NoReturn:
    # NaN and Infinity: Python reads and writes them, RFC 8259 and browsers do not.
    raise ValueError(f"{text} is no number of JSON")


def _invalid(validator: Validator, value: Any, place: str) -> Iterator[str]:
    for error in validator.iter_errors(value):
        # Of several schemas of which none fits, the one that fits best tells most.
        closest = best_match([error]) or error
        where = "".join(f"/{part}" for part in closest.absolute_path)
        yield f"{place}{where}: {_explained(closest)}"


def _explained(error: ValidationError) -> str:
    found = _short(error.instance)
    match error.validator:
        case "type":
            return f"found {found}; allowed is {_listed(error.validator_value)}."
        case "required":
            return f"found no {error.message.partition(' is a required')[0]}, which the schema requires."
        case "additionalProperties" | "unevaluatedProperties":
            known = ", ".join(error.schema.get("properties", ())) if isinstance(error.schema, dict) else ""
            return f"{error.message.rstrip('.')}; the schema knows {known or 'none'}."
        case "enum":
            return f"found {found}; allowed is {_listed(error.validator_value)}."
        case "format":
            return f"found {found}; allowed is {error.validator_value} (format)."
        case "not" if error.validator_value == {}:
            return f"found {found}; the schema keeps this property to the other direction (readOnly or writeOnly)."
    return f"found {found}; allowed is {error.validator} {_short(error.validator_value)}."


def _listed(values: Any) -> str:
    return " or ".join(str(value) for value in values) if isinstance(values, list) else str(values)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
