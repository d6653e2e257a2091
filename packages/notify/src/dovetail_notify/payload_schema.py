"""The payload of a type as JSON Schema, by the annotations that ``payloads`` writes and reads it by."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final, Literal, get_args, get_origin
from uuid import UUID

from dovetail_notify import payloads
from dovetail_notify.types import NotificationType

Schema = dict[str, Any]

#: As ``DjangoJSONEncoder`` writes them. A time has no format: RFC 3339's has an offset, which Python's need not have.
_SIMPLE: Final[dict[Any, Schema]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    UUID: {"type": "string", "format": "uuid"},
    Decimal: {"type": "string", "format": "decimal"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    time: {"type": "string"},
    timedelta: {"type": "string", "format": "duration"},
}


def payload_schema(cls: type[NotificationType], *, null: bool) -> Schema:
    """An object. ``null`` is whether the document knows the type null (OpenAPI 3.1) or has ``nullable`` (3.0).

    Fields that an earlier version had may still be in a row, so more than these are allowed.
    """
    described: Any = cls
    hints = payloads.hints(described)
    fields = dataclasses.fields(cls)
    schema: Schema = {
        "type": "object",
        "properties": {field.name: _of(hints[field.name], null=null) for field in fields},
    }
    if fields:
        schema["required"] = [field.name for field in fields]
    return schema


def _of(hint: Any, *, null: bool) -> Schema:
    choices = payloads.choices(hint)
    schemas = [_of_one(choice, null=null) for choice in choices if choice is not type(None)]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    # {} takes anything, null as well.
    if len(schemas) == len(choices) or not schema:
        return schema
    if null:
        return {"anyOf": [*schemas, {"type": "null"}]}
    if "type" in schema and "enum" not in schema:
        return {**schema, "nullable": True}
    return {"anyOf": [*schemas, {"enum": [None]}]}


def _of_one(hint: Any, *, null: bool) -> Schema:
    if hint in _SIMPLE:
        return dict(_SIMPLE[hint])
    kind, arguments = get_origin(hint) or hint, get_args(hint)
    if kind is Literal:
        return _enum(arguments)
    if not isinstance(kind, type):
        return {}  # whatever JSON has
    if issubclass(kind, Enum):
        return _enum([member.value for member in kind])
    if issubclass(kind, Mapping):
        values = _of(arguments[1], null=null) if len(arguments) == 2 else {}
        return {"type": "object", "additionalProperties": values}
    if issubclass(kind, Sequence | AbstractSet):
        one = len(arguments) == 1 or (len(arguments) == 2 and arguments[1] is ...)
        return {"type": "array", "items": _of(arguments[0], null=null) if one else {}}
    return {}


def _enum(values: Sequence[Any]) -> Schema:
    kinds = {type(value) for value in values}
    named = {str: "string", int: "integer", float: "number", bool: "boolean"}
    kind = next((name for known, name in named.items() if kinds == {known}), None)
    return {**({"type": kind} if kind else {}), "enum": list(values)}
