"""What the formats of a schema mean: RFC 3339 times, RFC 3986 addresses. Formats that are not here say nothing."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from datetime import date, datetime, time
from ipaddress import IPv4Address, IPv6Address

from django.core.validators import validate_email
from jsonschema import FormatChecker

_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_REFERENCE = re.compile(r"([!#-;=?-Z\[\]_a-z~]|%[0-9A-Fa-f]{2})*")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def _whole(pattern: re.Pattern[str], value: str) -> None:
    if not pattern.fullmatch(value):
        raise ValueError(value)


def _date_time(value: str) -> None:
    _whole(_DATE_TIME, value)
    # fromisoformat() takes six digits of a second at most, RFC 3339 any number.
    datetime.fromisoformat(re.sub(r"\.\d+", "", value.upper()))


def _date(value: str) -> None:
    _whole(re.compile(r"\d{4}-\d\d-\d\d", re.ASCII), value)
    date.fromisoformat(value)


def _uri(value: str) -> None:
    _whole(_REFERENCE, value)
    if not _SCHEME.match(value):
        raise ValueError(value)


def _base64(value: str) -> None:
    b64decode(value, validate=True)


_FORMATS: dict[str, Callable[[str], object]] = {
    "byte": _base64,
    "date": _date,
    "date-time": _date_time,
    "email": validate_email,
    "ipv4": IPv4Address,
    "ipv6": IPv6Address,
    # REST framework writes times without the offset that RFC 3339 wants of a full-time.
    "time": time.fromisoformat,
    "uri": _uri,
    "uri-reference": lambda value: _whole(_REFERENCE, value),
    "uuid": lambda value: _whole(_UUID, value),
}


def _checked(check: Callable[[str], object]) -> Callable[[object], bool]:
    def holds(value: object) -> bool:
        if isinstance(value, str):
            check(value)
        return True

    return holds


def formats() -> FormatChecker:
    """A checker with the formats above; give it more with its ``checks``."""
    from django.core.exceptions import ValidationError

    checker = FormatChecker(formats=())
    for name, check in _FORMATS.items():
        # An instance's own checkers: those of the class are jsonschema's, and everybody's.
        checker.checkers = {**checker.checkers, name: (_checked(check), (ValueError, ValidationError))}
    return checker
