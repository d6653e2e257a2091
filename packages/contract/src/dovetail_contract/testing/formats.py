"""The checked formats of JSON Schema: RFC 3339 times, RFC 3986 URIs and others. Unknown formats are ignored."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from datetime import date, datetime, time
from ipaddress import IPv4Address, IPv6Address

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from jsonschema import FormatChecker

Check = Callable[[str], object]


def _matching(pattern: str, parse: Check = str) -> Check:
    compiled = re.compile(pattern, re.ASCII)

    def check(value: str) -> None:
        if not compiled.fullmatch(value):
            raise ValueError(value)
        parse(value.upper())

    return check


_DATE = r"\d{4}-\d\d-\d\d"
_DATE_TIME = rf"{_DATE}[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)"
_REFERENCE = r"([!#-;=?-Z\[\]_a-z~]|%[0-9A-Fa-f]{2})*"

_FORMATS: dict[str, Check] = {
    "byte": lambda value: b64decode(value, validate=True),
    "date": _matching(_DATE, date.fromisoformat),
    "date-time": _matching(_DATE_TIME, datetime.fromisoformat),
    "email": validate_email,
    "ipv4": IPv4Address,
    "ipv6": IPv6Address,
    # REST framework writes times without the offset that RFC 3339 requires in a full-time.
    "time": time.fromisoformat,
    "uri": _matching(rf"[A-Za-z][A-Za-z0-9+.-]*:{_REFERENCE}"),
    "uri-reference": _matching(_REFERENCE),
    "uuid": _matching(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
}


def formats() -> FormatChecker:
    """Return a checker of the formats above. Add others with its ``checks`` decorator."""
    checker = FormatChecker(formats=())
    for name, check in _FORMATS.items():

        def is_valid(value: object, check: Check = check) -> bool:
            if isinstance(value, str):
                check(value)
            return True

        checker.checks(name, raises=(ValueError, ValidationError))(is_valid)
    return checker
