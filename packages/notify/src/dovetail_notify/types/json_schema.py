"""A type's payload as JSON Schema, derived from the field annotations that ``payloads`` uses."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final, Literal, get_args, get_origin
from uuid import UUID

from dovetail_notify.types import payloads
from dovetail_notify.types.notification_type import NotificationType

Schema = dict[str, Any]

#: As ``DjangoJSONEncoder`` writes them. A time has no format: RFC 3339 requires an offset, which Python does not.
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
    """Return an object schema. ``null`` selects the type null (OpenAPI 3.1) instead of ``nullable`` (3.0).

    Additional properties are allowed: rows may still have fields of an earlier version.
    """
    dataclass: Any = cls
    hints = payloads.field_hints(dataclass)
    fields = dataclasses.fields(cls)
    schema: Schema = {
        "type": "object",
        "properties": {field.name: _schema(hints[field.name], null=null) for field in fields},
    }
    if fields:
        schema["required"] = [field.name for field in fields]
    return schema


def _schema(hint: Any, *, null: bool) -> Schema:
    choices = payloads.union_members(hint)
    schemas = [_member_schema(choice, null=null) for choice in choices if choice is not type(None)]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    # {} allows anything, including null.
    if len(schemas) == len(choices) or not schema:
        return schema
    if null:
        return {"anyOf": [*schemas, {"type": "null"}]}
    if "type" in schema and "enum" not in schema:
        return {**schema, "nullable": True}
    return {"anyOf": [*schemas, {"enum": [None]}]}


def _member_schema(hint: Any, *, null: bool) -> Schema:
    if hint in _SIMPLE:
        return dict(_SIMPLE[hint])
    kind, arguments = get_origin(hint) or hint, get_args(hint)
    if kind is Literal:
        return _enum(arguments)
    if not isinstance(kind, type):
        return {}  # any JSON value
    if issubclass(kind, Enum):
        return _enum([member.value for member in kind])
    if issubclass(kind, Mapping):
        values = _schema(arguments[1], null=null) if len(arguments) == 2 else {}
        return {"type": "object", "additionalProperties": values}
    if issubclass(kind, Sequence | AbstractSet):
        one = len(arguments) == 1 or (len(arguments) == 2 and arguments[1] is ...)
        return {"type": "array", "items": _schema(arguments[0], null=null) if one else {}}
    return {}


def _enum(values: Sequence[Any]) -> Schema:
    kinds = {type(value) for value in values}
    named = {str: "string", int: "integer", float: "number", bool: "boolean"}
    kind = next((name for known, name in named.items() if kinds == {known}), None)
    return {**({"type": kind} if kind else {}), "enum": list(values)}
