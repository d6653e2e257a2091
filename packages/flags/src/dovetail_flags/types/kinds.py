"""The types of flags and their values."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

_KEY: Final = re.compile(r"[a-z][a-z0-9]*([._-][a-z0-9]+)*")
#: OFREP puts keys into paths, so they contain no slash and no colon.
LONGEST_KEY: Final = 100
#: JavaScript reads larger integers inexactly, and browsers are clients of flags.
LARGEST_INTEGER: Final = 2**53 - 1
#: The Python types of a value of each type. ``type(value)`` is looked up, because a bool is an int.
PYTHON_TYPES: Final[Mapping[str, frozenset[type]]] = {
    "boolean": frozenset({bool}),
    "string": frozenset({str}),
    "integer": frozenset({int}),
    "number": frozenset({int, float}),
    "object": frozenset({dict, list}),
}
KEY_GRAMMAR: Final = (
    "must be 1 to 100 lower-case letters and digits, in parts that '-', '_' or '.' separates, beginning with a letter"
)


def is_key(key: object) -> bool:
    return isinstance(key, str) and len(key) <= LONGEST_KEY and _KEY.fullmatch(key) is not None


class Fault(StrEnum):
    """What is wrong with a value."""

    TYPE = "type"
    TOO_LARGE = "too_large"
    NOT_FINITE = "not_finite"


def value_fault(value: object, kind: str) -> Fault | None:
    """Return what is wrong, or None if ``value`` is of the type ``kind``."""
    if type(value) not in PYTHON_TYPES[kind]:
        return Fault.TYPE
    if isinstance(value, int) and not -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
        return Fault.TOO_LARGE
    if isinstance(value, float) and not math.isfinite(value):
        return Fault.NOT_FINITE
    return None


def value_problem(value: object, kind: str) -> str | None:
    """Return an error text for developers that continues "The value", or None if ``value`` is of the type ``kind``.

    It is English, because declarations are checked when modules are imported, before translations are available.
    """
    fault = value_fault(value, kind)
    if fault is None:
        return None
    return {
        Fault.TYPE: f"must be of the type {kind}; {value!r:.80} is not",
        Fault.TOO_LARGE: f"must be from -{LARGEST_INTEGER} to {LARGEST_INTEGER}, which JavaScript reads exactly",
        Fault.NOT_FINITE: "must be a finite number, because JSON has no other",
    }[fault]


def accepts(types: frozenset[type], default: object) -> bool:
    """Return whether a caller with this default can use a value of these types. None accepts all values."""
    return (
        default is None or type(default) in types or (bool not in types and isinstance(default, tuple(types - {int})))
    )


def type_of(value: object) -> str | None:
    """Return the type of a flag with this value, or None. Whole numbers are of the type ``integer``."""
    return next((kind for kind, types in PYTHON_TYPES.items() if type(value) in types), None)
