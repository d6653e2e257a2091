"""The bytes of an entry that are hashed, and values that come back from every database as they were stored.

A hash of an entry is only of use if the database returns what was written. These values do not survive: PostgreSQL
rejects NUL and lone surrogates, in text and in JSON, and ``jsonb`` returns ``1e22`` as an integer. So every value is
cleaned before it is written.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import json
import math
import uuid
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final

from django.db.models import Model
from django.utils.functional import Promise
from django.utils.timezone import is_naive, make_aware

from dovetail_audit.entries.patterns import is_secret_key
from dovetail_audit.models import Entry
from dovetail_core.redaction import REDACTED
from dovetail_core.secrets import keyed_hashes

#: The version of this format, in ``Entry.version``.
VERSION: Final = 1
MAX_DEPTH: Final = 5
MAX_ITEMS: Final = 100
#: Characters of one text within JSON.
MAX_TEXT: Final = 1024
MAX_EMAIL: Final = 320

_PURPOSE: Final = f"dovetail_audit.entry.{VERSION}"
# Above it, JavaScript and JSON libraries of other languages round integers.
_MAX_INTEGER: Final = 2**53
_HASHED: Final = (
    "organization",
    "actor_kind",
    "actor",
    "auth",
    "impersonator",
    "action",
    "outcome",
    "status",
    "problem",
    "target_kind",
    "target",
    "origin",
    "request_id",
    "data",
    "version",
)
_COMMITTED: Final = ("actor_label", "target_label", "ip", "user_agent", "private")
_hashed = attrgetter(*_HASHED)
_committed = attrgetter(*_COMMITTED)

# Made once: json.dumps() with options makes an encoder for each call, a quarter of the time.
_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode


def canonical(entry: Entry) -> bytes:
    """Return the JSON text that is hashed: all columns but the personal ones, for which the commitment stands."""
    document = dict(zip(_HASHED, _hashed(entry), strict=True))
    document |= {"id": str(entry.pk), "at": rfc3339(entry.at), "commitment": bytes(entry.commitment).hex()}
    return _dump(document)


def mac(entry: Entry, text: bytes | None = None) -> bytes:
    """Return the HMAC-SHA256 (32 bytes) of the entry with the newest pepper of core.

    It shows a row that was inserted or changed by SQL before it was sealed. ``text`` is ``canonical(entry)``.
    """
    return next(macs(entry, text))


def macs(entry: Entry, text: bytes | None = None) -> Iterator[bytes]:
    """Yield the HMAC with each accepted pepper, newest first."""
    text = canonical(entry) if text is None else text
    return map(bytes.fromhex, keyed_hashes(_PURPOSE, text.decode()))


def commit(personal: Mapping[str, Any], salt: bytes) -> bytes:
    """Return the commitment to the personal columns: an HMAC-SHA256 whose key is the salt of 128 random bits.

    Without the salt it reveals nothing, also not to somebody who tries all names. So an erasure deletes the salt too.
    """
    return hmac.digest(salt, _dump({name: personal.get(name) for name in _COMMITTED}), "sha256")


def personal_of(entry: Entry) -> dict[str, Any]:
    """Return the columns of the commitment."""
    return dict(zip(_COMMITTED, _committed(entry), strict=True))


def rfc3339(moment: datetime) -> str:
    """Return the time in UTC with six digits. A naive time (``USE_TZ = False``) is in the zone of the project."""
    moment = make_aware(moment) if is_naive(moment) else moment
    # Without strftime, which writes years before 1000 with fewer digits.
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def clean(value: object, depth: int = MAX_DEPTH) -> Any:
    """Return ``value`` as JSON that every database returns unchanged: short text, small integers, lists and dicts.

    At most ``MAX_DEPTH`` levels, ``MAX_ITEMS`` items and ``MAX_TEXT`` characters are kept. Files and bytes become their
    size and SHA-256, model instances their label and key, and other objects the name of their class.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return clean(value.value, depth)
    if isinstance(value, str | Promise):
        return _text(str(value))
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, Mapping):
        return _mapping(value, depth)
    if isinstance(value, list | tuple | AbstractSet):
        return _sequence(value, depth)
    return _scalar(value)


def clean_text(value: str, length: int) -> str:
    """Return at most ``length`` characters without NUL and lone surrogates."""
    value = value[:length]
    if value.isascii():
        return value.replace("\0", "\u2400")
    # Pairs of surrogates become one character, and lone ones U+FFFD.
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\u2400")


def size(value: object) -> int:
    """Return the length of the canonical JSON in bytes."""
    return len(_dump(value))


def summary(value: object) -> dict[str, Any]:
    """Return the size and SHA-256 of bytes, or of the canonical JSON of other values."""
    text = value if isinstance(value, bytes) else _dump(value)
    return {"size": len(text), "sha256": hashlib.sha256(text).hexdigest()}


def _dump(value: object) -> bytes:
    # A row that was changed by SQL may contain anything, and verification must be able to report it.
    return _encode(value).encode("utf-8", "replace")


def _text(value: str) -> str:
    if len(value) <= MAX_TEXT:
        return clean_text(value, MAX_TEXT)
    # Without the last word: redaction does not recognize half of an e-mail address.
    head, space, tail = value[:MAX_TEXT].rpartition(" ")
    return clean_text(f"{head}{space}" if space and len(tail) <= MAX_EMAIL else value, MAX_TEXT)


def _integer(value: int) -> int | str:
    if -_MAX_INTEGER <= value <= _MAX_INTEGER:
        return int(value)
    # Python refuses to write more than 4300 decimal digits; hexadecimal has no limit, and takes linear time.
    return str(int(value)) if value.bit_length() < 256 else hex(value)[:MAX_TEXT]


def _mapping(value: Mapping[Any, Any], depth: int) -> Any:
    if depth == 0:
        return f"<{len(value)} items>"
    lists = getattr(value, "lists", None)  # QueryDict, which returns only the last value of each key
    pairs = list(lists() if callable(lists) else value.items())
    result = {_text(str(clean(key))): clean(item, depth - 1) for key, item in pairs[:MAX_ITEMS]}
    if len(pairs) > MAX_ITEMS:
        result["…"] = f"<{len(pairs) - MAX_ITEMS} more>"
    return result


def _sequence(value: list[Any] | tuple[Any, ...] | AbstractSet[Any], depth: int) -> Any:
    if depth == 0:
        return f"<{len(value)} items>"
    items = sorted(value, key=str) if isinstance(value, AbstractSet) else value
    result = [clean(item, depth - 1) for item in items[:MAX_ITEMS]]
    return result if len(items) <= MAX_ITEMS else [*result, f"<{len(items) - MAX_ITEMS} more>"]


def _scalar(value: object) -> Any:
    if isinstance(value, float):
        return str(value) if math.isfinite(value) else repr(value)
    if isinstance(value, datetime):
        return _datetime(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal | uuid.UUID | timedelta):
        return clean_text(str(value), MAX_TEXT)
    if isinstance(value, Model):
        key = REDACTED if is_secret_key(value._meta.pk.name, value.pk) else value.pk
        return clean_text(f"{value._meta.label}:{key}", MAX_TEXT)
    if isinstance(value, bytes | bytearray | memoryview):
        return summary(bytes(value))
    if callable(getattr(value, "chunks", None)) and callable(getattr(value, "seek", None)):
        return _file(value)
    # Never repr(), which may contain a secret.
    return f"<{type(value).__name__}>"[:MAX_TEXT]


def _datetime(value: datetime) -> str:
    try:
        return rfc3339(value)
    except (OverflowError, ValueError):
        # The first and last representable time, which stand for "always" and "never", may have no time in UTC.
        return value.isoformat()


def _file(value: Any) -> dict[str, Any]:
    """Return the size and SHA-256 of a Django ``File``, which stays at its position."""
    position, digest, length = value.tell(), hashlib.sha256(), 0
    for chunk in value.chunks():
        data = chunk.encode() if isinstance(chunk, str) else chunk
        digest.update(data)
        length += len(data)
    value.seek(position)
    return {"size": length, "sha256": digest.hexdigest()}
