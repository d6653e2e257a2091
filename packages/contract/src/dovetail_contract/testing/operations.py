"""The operations of a document, found by method and path, each with what it takes and answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from dovetail_contract.testing.dialect import RESOURCE, Dialect

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_PARAMETER = re.compile(r"{[^}]+}")


def media_type(value: str) -> str:
    return value.partition(";")[0].strip().lower()


@dataclass(frozen=True)
class Header:
    name: str
    required: bool
    validator: Validator | None
    kind: str

    def read(self, text: str) -> Any:
        """A header is text; numbers and truths are what it reads as."""
        if self.kind in ("integer", "number", "boolean"):
            try:
                return json.loads(text)
            except ValueError:
                return text
        return [part.strip() for part in text.split(",")] if self.kind == "array" else text


class Content:
    """The media types of a body, each with its validator, which is made when it is first asked for."""

    def __init__(self, makers: Validators, content: Mapping[str, Any]) -> None:
        self._makers = makers
        self._schemas = {media_type(name): described.get("schema") for name, described in content.items()}
        self._made: dict[str, Validator | None] = {}

    def __bool__(self) -> bool:
        return bool(self._schemas)

    def __str__(self) -> str:
        return ", ".join(self._schemas) or "no body"

    def find(self, given: str) -> str | None:
        """The documented media type that ``given`` is one of: itself, or a range such as ``image/*``."""
        name = media_type(given)
        return next((each for each in (name, f"{name.partition('/')[0]}/*", "*/*") if each in self._schemas), None)

    def validator(self, name: str) -> Validator | None:
        if name not in self._made:
            self._made[name] = self._makers.make(self._schemas[name])
        return self._made[name]


@dataclass(frozen=True)
class Answer:
    content: Content
    headers: tuple[Header, ...]


class Operation:
    def __init__(
        self, method: str, template: str, described: Mapping[str, Any], makers: dict[bool, Validators]
    ) -> None:
        self.method, self.template = method, template
        self.name = described.get("operationId") or f"{method.upper()} {template}"
        dialect = makers[False].dialect
        self.responses = {str(key).upper(): dialect.resolve(each) for key, each in described["responses"].items()}
        self._makers = makers[False]
        self._answers: dict[str, Answer] = {}
        body = dialect.resolve(described.get("requestBody"))
        self.request = Content(makers[True], body.get("content", {})) if body else None

    def answer(self, status: int) -> Answer | None:
        """What is said of a status by itself, by its range (``4XX``), or of all others (``default``)."""
        key = next((key for key in (str(status), f"{status // 100}XX", "DEFAULT") if key in self.responses), None)
        if key is None:
            return None
        if key not in self._answers:
            described = self.responses[key]
            content = Content(self._makers, described.get("content", {}))
            self._answers[key] = Answer(content, tuple(self._headers(described.get("headers", {}))))
        return self._answers[key]

    def _headers(self, described: Mapping[str, Any]) -> Iterator[Header]:
        for name, each in described.items():
            # RFC 9110 has it in every answer with a body, and the media types say what it is.
            if name.lower() == "content-type":
                continue
            header = self._makers.dialect.resolve(each)
            kind = self._makers.dialect.resolve(header.get("schema") or {}).get("type", "string")
            validator = self._makers.make(header["schema"]) if "schema" in header else None
            yield Header(name, bool(header.get("required")), validator, kind)


class Validators:
    def __init__(self, dialect: Dialect, formats: FormatChecker) -> None:
        self.dialect, self._formats = dialect, formats
        # The definitions grow as they are referred to; the registry holds the dictionary itself.
        resource = DRAFT202012.create_resource({"$defs": dialect.definitions})
        self._registry: Registry[Any] = Registry().with_resource(RESOURCE, resource)

    def make(self, schema: Any) -> Validator | None:
        if schema is None:
            return None
        translated = self.dialect.translate(schema)
        return Draft202012Validator(translated, registry=self._registry, format_checker=self._formats)


class Operations:
    def __init__(self, document: Mapping[str, Any], formats: FormatChecker) -> None:
        makers = {sent: Validators(Dialect(document, sent=sent), formats) for sent in (False, True)}
        servers = [urlsplit(each.get("url", "/")).path.rstrip("/") for each in document.get("servers", ())]
        self._bases = sorted({"", *servers}, key=len, reverse=True)
        paths: dict[str, dict[str, Operation]] = {}
        # The more of a path is literal, the earlier it is looked at (OpenAPI, "path templating matching").
        for template in sorted(document.get("paths", {}), key=lambda path: -len(_PARAMETER.sub("", path))):
            item = makers[False].dialect.resolve(document["paths"][template])
            paths[template] = {name: Operation(name, template, item[name], makers) for name in METHODS if name in item}
        self._literal = {template: found for template, found in paths.items() if "{" not in template}
        # A parameter has no slash in it (OpenAPI 3.0, "path parameters"): else a misspelt path would pass for another.
        self._patterns = [(_pattern(template), found) for template, found in paths.items() if "{" in template]

    def at(self, path: str) -> dict[str, Operation] | None:
        """The operations of a path by their methods in lower case, or None where the document has no such path."""
        for base in self._bases:
            if not path.startswith(f"{base}/"):
                continue
            rest = path[len(base) :]
            if rest in self._literal:
                return self._literal[rest]
            for pattern, found in self._patterns:
                if pattern.fullmatch(rest):
                    return found
        return None


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile("[^/]+".join(re.escape(part) for part in _PARAMETER.split(template)))
