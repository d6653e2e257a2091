"""The operators of conditions. Each one is built once from the values of a rule and called with an attribute.

There is no operator for regular expressions: an expression with exponential backtracking would stop every process.
Text is compared as it is, with its case: the lower case of a text depends on its language.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from operator import ge, gt, le, lt
from typing import Any, Final

from dovetail_flags.types.context import text

Test = Callable[[Any], bool]

_SEMVER: Final = re.compile(r"v?(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:-([0-9A-Za-z.-]{1,100}))?(?:\+[0-9A-Za-z.-]{1,100})?")
_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {"lt": lt, "lte": le, "gt": gt, "gte": ge}

#: Operators with one or more values, with exactly one value, and with at most one.
MANY: Final = frozenset({"in", "not_in", "starts_with", "ends_with", "contains"})
ONE: Final = frozenset({"eq", "lt", "lte", "gt", "gte", "semver_gte"})
OPERATORS: Final = (*sorted(MANY), *sorted(ONE), "exists")


def build(op: str, values: Sequence[Any]) -> Test:
    """Return the test of an attribute that exists. Raise ``ValueError`` for a value that the operator cannot use."""
    if op in {"in", "eq"}:
        return _one_of(frozenset(map(text, values)))
    if op == "not_in":
        return _none_of(frozenset(map(text, values)))
    if op in _ORDER:
        return _ordered(_ORDER[op], values[0])
    if op == "semver_gte":
        return _semver_gte(values[0])
    if op == "exists":
        return lambda value: True
    return _text_test(op, tuple(map(text, values)))


def parse_time(value: object) -> datetime | None:
    """Return a time in UTC from RFC 3339 text or an aware datetime, else None. The years are 2 to 9998."""
    if isinstance(value, str) and 16 <= len(value) <= 40:
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        return None
    # One year less at each end, because the zone of a page that shows the time can exceed the range of datetime.
    return value.astimezone(UTC) if 1 < value.year < 9999 else None


def parse_semver(value: object) -> tuple[Any, ...] | None:
    """Return a key that sorts versions by the precedence of Semantic Versioning 2.0.0, or None."""
    match = _SEMVER.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    major, minor, patch, prerelease = match.groups()
    # A release follows its prereleases; numbers precede texts.
    identifiers = [
        (0, int(part), "") if part.isdecimal() else (1, 0, part) for part in (prerelease or "").split(".") if part
    ]
    return int(major), int(minor), int(patch), not identifiers, identifiers


def _members(value: Any) -> Collection[Any]:
    return value if isinstance(value, list | tuple | set | frozenset) else (value,)


def _one_of(values: frozenset[str]) -> Test:
    def test(value: Any) -> bool:
        if type(value) is str:  # the usual case: 60 ns instead of 500
            return value in values
        return any(text(member) in values for member in _members(value))

    return test


def _none_of(values: frozenset[str]) -> Test:
    return lambda value: all(text(member) not in values for member in _members(value))


def _text_test(op: str, values: tuple[str, ...]) -> Test:
    def test(value: Any) -> bool:
        for member in map(text, _members(value)):
            if op == "starts_with" and member.startswith(values):
                return True
            if op == "ends_with" and member.endswith(values):
                return True
            if op == "contains" and any(part in member for part in values):
                return True
        return False

    return test


def _ordered(compare: Callable[[Any, Any], bool], limit: Any) -> Test:
    if _is_number(limit):
        return lambda value: _is_number(value) and compare(value, limit)
    time = parse_time(limit)
    if time is None:
        raise ValueError("must be a number, or a time with an offset such as '2026-12-01T09:00:00+01:00'")

    def test(value: Any) -> bool:
        moment = parse_time(value)
        return moment is not None and compare(moment, time)

    return test


def _semver_gte(limit: Any) -> Test:
    lowest = parse_semver(limit)
    if lowest is None:
        raise ValueError("must be a semantic version such as '2.10.0'")

    def test(value: Any) -> bool:
        version = parse_semver(value)
        return version is not None and version >= lowest

    return test


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
