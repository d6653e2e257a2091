"""Conversion of a notification's fields to JSON and back, and their JSON Schema, according to their annotations."""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.utils.dateparse import parse_date, parse_datetime, parse_time
from django.utils.functional import Promise

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
Schema = dict[str, Any]

_PARSERS: Final[dict[type, Callable[[str], object]]] = {
    UUID: UUID,
    Decimal: Decimal,
    datetime: parse_datetime,
    date: parse_date,
    time: parse_time,
}
_PLAIN: Final[frozenset[type]] = frozenset({str, int, bool, type(None)})
#: As ``DjangoJSONEncoder`` writes them. A time has no format: RFC 3339 requires an offset, which Python does not.
_SCHEMAS: Final[dict[object, Schema]] = {
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


def clean(text: str) -> str:
    """Replace NUL and unpaired surrogates, which JSON allows but databases and sockets reject."""
    if type(text) is str and text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def encode(instance: DataclassInstance) -> dict[str, Any]:
    """Return the fields as JSON values. Raise ``TypeError`` for a value of the wrong type."""
    cls = type(instance)
    hints = _field_hints(cls)
    values: dict[str, object] = {}
    for name, hint in hints.items():
        value = getattr(instance, name)
        if isinstance(value, Promise):  # a lazy translation
            value = str(value)
        if not _matches(value, hint):
            expected = hint.__name__ if isinstance(hint, type) else hint
            raise TypeError(f"{cls.__qualname__}.{name} takes {expected}; got {value!r}.")
        values[name] = value.value if isinstance(value, Enum) else value
    # Most fields are plain, and JSON does not change them.
    if not _PLAIN.issuperset(map(type, values.values())):
        values = json.loads(json.dumps(values, cls=DjangoJSONEncoder))
    payload: dict[str, Any] = _clean_json(values)
    return payload


def decode(cls: type[T], payload: dict[str, Any]) -> T:
    """Return an instance made from JSON values. Raise ``TypeError`` or ``ValueError`` for unsuitable values."""
    hints = _field_hints(cls)
    # Fields that only an earlier version had are ignored, so that the row can still be shown.
    return cls(**{name: _decode_value(value, hints[name]) for name, value in payload.items() if name in hints})


def payload_schema(cls: type[DataclassInstance], *, null: bool) -> Schema:
    """Return an object schema. ``null`` selects the type null (OpenAPI 3.1) instead of ``nullable`` (3.0).

    Additional properties are allowed, because stored payloads may have fields of an earlier version.
    """
    hints = _field_hints(cls)
    properties = {name: _schema(hint, null=null) for name, hint in hints.items()}
    return {"type": "object", "properties": properties, **({"required": list(hints)} if hints else {})}


@cache
def _field_hints(cls: type[DataclassInstance]) -> dict[str, Any]:
    hints = get_type_hints(cls)  # also those of class variables
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _union_members(hint: object) -> tuple[object, ...]:
    """Return the members of a union, or a tuple of the hint alone if it is not a union."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _matches(value: object, hint: object) -> bool:
    for choice in _union_members(hint):
        kind = get_origin(choice) or choice
        # Literal and similar hints are not checked.
        if choice is Any or not isinstance(kind, type):
            return True
        # Python counts True as an int. An int is accepted where a float is expected.
        if isinstance(value, bool) is not (kind is bool) and kind is not object:
            continue
        if isinstance(value, kind) or (kind is float and isinstance(value, int)):
            return True
    return False


def _decode_value(value: Any, hint: object) -> object:
    if value is None:
        return None
    for choice in _union_members(hint):
        kind = get_origin(choice) or choice
        if not isinstance(kind, type):
            continue
        if issubclass(kind, Enum):
            return kind(value)
        if kind in _PARSERS and isinstance(value, str):
            if (parsed := _PARSERS[kind](value)) is None:
                raise ValueError(f"{value!r} is not a valid {kind.__name__}.")
            return parsed
        if kind in (tuple, set, frozenset):
            return kind(value)
    return value


def _clean_json(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_clean_json(item) for item in value]
    if isinstance(value, dict):
        return {clean(name): _clean_json(item) for name, item in value.items()}
    return value


def _schema(hint: object, *, null: bool) -> Schema:
    choices = _union_members(hint)
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


def _member_schema(hint: object, *, null: bool) -> Schema:
    if hint in _SCHEMAS:
        return dict(_SCHEMAS[hint])
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
        uniform = len(arguments) == 1 or (len(arguments) == 2 and arguments[1] is ...)
        return {"type": "array", "items": _schema(arguments[0], null=null) if uniform else {}}
    return {}


def _enum(values: Sequence[object]) -> Schema:
    names = {str: "string", int: "integer", float: "number", bool: "boolean"}
    kinds = {names.get(type(value)) for value in values}
    kind = kinds.pop() if len(kinds) == 1 else None
    return {**({"type": kind} if kind else {}), "enum": list(values)}
