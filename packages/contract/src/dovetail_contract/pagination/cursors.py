"""Opaque tokens: the cursor of a page, signed together with the list that it belongs to."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from dovetail_core.rest.pagination import Cursor
from dovetail_core.secrets import constant_time_compare, keyed_hashes

# 128 bits of HMAC-SHA256 suffice, because a forger has one guess per request. A JSON payload follows, in base64url.
_MAC_BYTES = 16
_PURPOSE = "dovetail_contract.cursor.1"
# Longer text is not decoded: no valid cursor is that long.
_MAX_LENGTH = 4096

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE = datetime(1970, 1, 1)  # noqa: DTZ001  # for projects without USE_TZ


class InvalidCursor(ValueError):
    """Raised for every invalid cursor alike, because details would only help a forger."""


def encode(cursor: Cursor, *, scope: str) -> str:
    """Return the token of a cursor. It is valid only for ``scope``, the text of everything the list depends on."""
    flags = cursor.backward | cursor.inclusive << 1
    payload = json.dumps([flags, *map(_encoded, cursor.key)], separators=(",", ":")).encode()
    return urlsafe_b64encode(next(_macs(payload, scope)) + payload).decode().rstrip("=")


def decode(token: str, *, scope: str, length: int) -> Cursor:
    """Return the cursor of a token. Raise ``InvalidCursor`` for another scope or number of keys."""
    if len(token) > _MAX_LENGTH:
        raise InvalidCursor
    try:
        raw = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        # The decoder skips characters outside of its alphabet; this check makes the spelling of a cursor unique.
        if urlsafe_b64encode(raw).decode().rstrip("=") != token:
            raise InvalidCursor
        if not any(constant_time_compare(mac, expected) for expected in _macs(payload, scope)):
            raise InvalidCursor
        flags, *values = json.loads(payload)
        decoded = tuple(_decoded(value) for value in values)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise InvalidCursor from error
    if len(decoded) != length:
        raise InvalidCursor
    return Cursor(decoded, backward=bool(flags & 1), inclusive=bool(flags & 2))


def _macs(payload: bytes, scope: str) -> Iterator[bytes]:
    message = f"{len(scope)}:{scope}{payload.decode(errors='surrogateescape')}"
    if not message.isascii():
        message = message.encode(errors="surrogateescape").hex()
    for digest in keyed_hashes(_PURPOSE, message):
        yield bytes.fromhex(digest)[:_MAC_BYTES]


def _microseconds(delta: timedelta) -> int:
    return delta // timedelta(microseconds=1)


# Types that JSON lacks are encoded with a tag, so that values keep their type.
_ENCODERS: Mapping[type, tuple[str, Callable[[Any], Any]]] = {
    datetime: (
        "t",
        lambda value: _microseconds(value - _EPOCH) if value.tzinfo else ["", _microseconds(value - _NAIVE)],
    ),
    date: ("d", date.isoformat),
    time: ("h", time.isoformat),
    timedelta: ("i", _microseconds),
    Decimal: ("n", str),
    UUID: ("u", lambda value: value.hex),
}
_DECODERS: Mapping[str, Callable[[Any], Any]] = {
    "t": lambda value: (
        _NAIVE + timedelta(microseconds=value[1]) if isinstance(value, list) else _EPOCH + timedelta(microseconds=value)
    ),
    "d": date.fromisoformat,
    "h": time.fromisoformat,
    "i": lambda value: timedelta(microseconds=value),
    "n": Decimal,
    "u": lambda value: UUID(hex=value),
}


def _encoded(value: object) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    # datetime comes first, because it is a subclass of date.
    for kind, (tag, encoder) in _ENCODERS.items():
        if isinstance(value, kind):
            return {tag: encoder(value)}
    raise TypeError(f"Cannot paginate by a value of type {type(value).__name__}: {value!r}.")


def _decoded(value: object) -> object:
    if not isinstance(value, dict):
        return value
    ((tag, inner),) = value.items()
    return _DECODERS[tag](inner)
