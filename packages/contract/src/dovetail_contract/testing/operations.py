"""The operations of an OpenAPI document, by path and method, with validators of their bodies and headers."""

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


def media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


class Validators:
    def __init__(self, dialect: Dialect, formats: FormatChecker) -> None:
        self.dialect, self._formats = dialect, formats
        # By the identity of the schema, which the document keeps alive.
        self._created: dict[int, Validator] = {}
        # The registry shares the dictionary of definitions, which grows with each translation.
        resource = DRAFT202012.create_resource({"$defs": dialect.definitions})
        self._registry: Registry[Any] = Registry().with_resource(RESOURCE, resource)

    def create(self, schema: Mapping[str, Any] | None) -> Validator | None:
        if schema is None:
            return None
        if id(schema) not in self._created:
            translated = self.dialect.translate(schema)
            validator = Draft202012Validator(translated, registry=self._registry, format_checker=self._formats)
            self._created[id(schema)] = validator
        return self._created[id(schema)]


@dataclass(frozen=True)
class Header:
    name: str
    required: bool
    validator: Validator | None
    kind: str

    def parse(self, text: str) -> Any:
        if self.kind in ("integer", "number", "boolean"):
            try:
                return json.loads(text)
            except ValueError:
                return text
        return [part.strip() for part in text.split(",")] if self.kind == "array" else text


class Content:
    """The media types of a body, with a validator for each."""

    def __init__(self, validators: Validators, content: Mapping[str, Any]) -> None:
        self._validators = validators
        self._schemas = {media_type(name): described.get("schema") for name, described in content.items()}

    def __bool__(self) -> bool:
        return bool(self._schemas)

    def __str__(self) -> str:
        return ", ".join(self._schemas) or "no body"

    def find(self, content_type: str) -> str | None:
        """Return the documented media type, which may be a range such as ``image/*``."""
        name = media_type(content_type)
        candidates = (name, f"{name.partition('/')[0]}/*", "*/*")
        return next((candidate for candidate in candidates if candidate in self._schemas), None)

    def validator(self, name: str) -> Validator | None:
        return self._validators.create(self._schemas[name])


@dataclass(frozen=True)
class Response:
    content: Content
    headers: tuple[Header, ...]


class Operation:
    def __init__(
        self, method: str, template: str, described: Mapping[str, Any], responses: Validators, requests: Validators
    ) -> None:
        self.name = described.get("operationId") or f"{method.upper()} {template}"
        self._validators = responses
        resolve = responses.dialect.resolve
        self.responses = {str(status).upper(): resolve(entry) for status, entry in described["responses"].items()}
        body = resolve(described.get("requestBody"))
        self.request = Content(requests, body.get("content", {})) if body else None

    def response(self, status: int) -> Response | None:
        """Return the response of a status, else of its range (``4XX``), else ``default``."""
        keys = (str(status), f"{status // 100}XX", "DEFAULT")
        key = next((key for key in keys if key in self.responses), None)
        if key is None:
            return None
        described = self.responses[key]
        content = Content(self._validators, described.get("content", {}))
        return Response(content, tuple(self._headers(described.get("headers", {}))))

    def _headers(self, described: Mapping[str, Any]) -> Iterator[Header]:
        resolve = self._validators.dialect.resolve
        for name, entry in described.items():
            # OpenAPI ignores a description of Content-Type, which the media types describe.
            if name.lower() == "content-type":
                continue
            header = resolve(entry)
            kind = resolve(header.get("schema") or {}).get("type", "string")
            yield Header(name, bool(header.get("required")), self._validators.create(header.get("schema")), kind)


class Operations:
    def __init__(self, document: Mapping[str, Any], formats: FormatChecker) -> None:
        responses, requests = (Validators(Dialect(document, sent=sent), formats) for sent in (False, True))
        servers = [urlsplit(server.get("url", "/")).path.rstrip("/") for server in document.get("servers", ())]
        self._bases = sorted({"", *servers}, key=len, reverse=True)
        self._literal: dict[str, dict[str, Operation]] = {}
        self._templates: list[tuple[re.Pattern[str], dict[str, Operation]]] = []
        # More concrete paths match first (OpenAPI, "path templating matching").
        for template in sorted(document.get("paths", {}), key=lambda path: -len(_PARAMETER.sub("", path))):
            item = responses.dialect.resolve(document["paths"][template])
            operations = {
                method: Operation(method, template, item[method], responses, requests)
                for method in METHODS
                if method in item
            }
            if "{" in template:
                # A parameter has no slash (OpenAPI 3.0, "path parameters"), else a misspelt path would match another.
                pattern = "[^/]+".join(re.escape(part) for part in _PARAMETER.split(template))
                self._templates.append((re.compile(pattern), operations))
            else:
                self._literal[template] = operations

    def at(self, path: str) -> dict[str, Operation] | None:
        """Return the operations of a path by lower-case method, or None if the document does not have the path."""
        for base in self._bases:
            if not path.startswith(f"{base}/"):
                continue
            rest = path[len(base) :]
            if rest in self._literal:
                return self._literal[rest]
            for pattern, operations in self._templates:
                if pattern.fullmatch(rest):
                    return operations
        return None
