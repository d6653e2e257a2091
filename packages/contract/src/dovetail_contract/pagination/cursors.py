"""Opaque cursors: the position of a page, signed together with the list that it belongs to."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from dovetail_contract.pagination.keyset import Position
from dovetail_core.secrets import constant_time_compare, keyed_hashes

# 128 bits of HMAC-SHA256, because a forger has one guess per request. The payload follows in JSON; both in base64url.
_MAC_BYTES = 16
_PURPOSE = "dovetail_contract.cursor.1"
# No cursor of ours is longer; longer text is not decoded.
_LONGEST = 4096

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE = datetime(1970, 1, 1)  # noqa: DTZ001  # for projects without USE_TZ


class InvalidCursor(ValueError):
    """One error for every cause, because details would only help a forger."""


def encode(position: Position, *, scope: str) -> str:
    """The cursor of a position. ``scope`` is everything that the list depends on; the cursor is valid for it only."""
    flags = position.backward | position.inclusive << 1
    payload = json.dumps([flags, *map(_encoded, position.values)], separators=(",", ":")).encode()
    return urlsafe_b64encode(next(_macs(payload, scope)) + payload).decode().rstrip("=")


def decode(token: str, *, scope: str, length: int) -> Position:
    """The position of a cursor. Raises ``InvalidCursor`` unless it was encoded for this scope and number of keys."""
    if len(token) > _LONGEST:
        raise InvalidCursor
    try:
        raw = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        # The decoder skips characters outside its alphabet. With this check, a cursor has exactly one spelling.
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
    return Position(decoded, backward=bool(flags & 1), inclusive=bool(flags & 2))


def _macs(payload: bytes, scope: str) -> Any:
    message = f"{len(scope)}:{scope}{payload.decode(errors='surrogateescape')}"
    if not message.isascii():
        message = message.encode(errors="surrogateescape").hex()
    for digest in keyed_hashes(_PURPOSE, message):
        yield bytes.fromhex(digest)[:_MAC_BYTES]


def _microseconds(delta: timedelta) -> int:
    return delta // timedelta(microseconds=1)


# A tag for each type that JSON lacks, so that a value is decoded to its type.
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


def _encoded(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    # datetime is a subclass of date, and comes first.
    for kind, (tag, encoder) in _ENCODERS.items():
        if isinstance(value, kind):
            return {tag: encoder(value)}
    raise TypeError(f"Cannot page by a value of {type(value).__name__}: {value!r}.")


def _decoded(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((tag, inner),) = value.items()
    return _DECODERS[tag](inner)
