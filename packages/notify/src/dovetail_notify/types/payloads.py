"""Converting a notification's fields to JSON and back, by their annotations."""

from __future__ import annotations

import dataclasses
import json
import types
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.utils.dateparse import parse_date, parse_datetime, parse_time
from django.utils.functional import Promise

T = TypeVar("T")

_FROM_TEXT: dict[type, Any] = {
    UUID: UUID,
    Decimal: Decimal,
    datetime: parse_datetime,
    date: parse_date,
    time: parse_time,
}


def clean(text: str) -> str:
    """Replace what databases and sockets reject but JSON allows: NUL and unpaired surrogates."""
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def encode(instance: Any) -> dict[str, Any]:
    """Return the fields as JSON values. Raises ``TypeError`` for a value of the wrong type."""
    cls: Any = type(instance)
    hints = field_hints(cls)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        if isinstance(value, Promise):  # a lazy translation
            value = str(value)
        if not _matches(value, hints[field.name]):
            name = f"{cls.__qualname__}.{field.name}"
            raise TypeError(f"{name} takes {_name(hints[field.name])}; got {value!r}.")
        values[field.name] = value.value if isinstance(value, Enum) else value
    payload: dict[str, Any] = _cleaned(json.loads(json.dumps(values, cls=DjangoJSONEncoder)))
    return payload


def decode(cls: type[T], payload: dict[str, Any]) -> T:
    """Make an instance from JSON values. Raises ``TypeError`` or ``ValueError`` if they do not fit."""
    dataclass: Any = cls
    hints = field_hints(dataclass)
    names = {field.name for field in dataclasses.fields(dataclass)}
    # Fields that only an earlier version had are ignored, so that the row can still be shown.
    return cls(**{name: _restored(value, hints[name]) for name, value in payload.items() if name in names})


@cache
def field_hints(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls)


def union_members(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the hint alone if it is not a union."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _matches(value: Any, hint: Any) -> bool:
    for choice in union_members(hint):
        kind = get_origin(choice) or choice
        if choice is Any or (choice is type(None) and value is None):
            return True
        if not isinstance(kind, type):
            return True  # Literal and similar hints are not checked
        # Python counts True as an int. An int is accepted where a float is expected.
        if isinstance(value, bool) is not (kind is bool) and kind is not object:
            continue
        if isinstance(value, kind) or (kind is float and isinstance(value, int)):
            return True
    return False


def _restored(value: Any, hint: Any) -> Any:
    if value is None:
        return None
    for choice in union_members(hint):
        if isinstance(choice, type) and issubclass(choice, Enum):
            return choice(value)
        if choice in _FROM_TEXT and isinstance(value, str):
            if (restored := _FROM_TEXT[choice](value)) is None:
                raise ValueError(f"{value!r} is no {choice.__name__}.")
            return restored
        if get_origin(choice) in (tuple, set, frozenset) or choice in (tuple, set, frozenset):
            return (get_origin(choice) or choice)(value)
    return value


def _name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {clean(name): _cleaned(item) for name, item in value.items()}
    return value
