"""Values as records, job rows and logs show them: without secrets, and of a bounded size."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from typing import Any, Final

from django.core.serializers.json import DjangoJSONEncoder
from django.utils.functional import Promise

from dovetail_core.redaction import REDACTED, is_secret_name
from dovetail_core.redaction import redact_text as _without_secrets

MAX_DEPTH: Final = 6
MAX_ITEMS: Final = 100
#: Characters of one text.
MAX_TEXT: Final = 1000
#: Characters that are searched for secrets. A longer text takes time that a client could cause.
_MOST_TEXT: Final = 4096


def redact(value: object, secrets: Collection[str] = ()) -> Any:
    """Return ``value`` as JSON without the values of secret fields and the secrets within texts.

    ``secrets`` names more fields, besides names such as ``password`` and ``api_key``. At most ``MAX_DEPTH`` levels,
    ``MAX_ITEMS`` items of each and ``MAX_TEXT`` characters of a text remain.
    """
    return _redact(value, frozenset(secrets), MAX_DEPTH)


def redact_text(text: str, length: int = MAX_TEXT) -> str:
    """Return at most ``length`` characters of a text, without tokens, keys, passwords in URLs and card numbers.

    NUL and lone surrogates are replaced, because PostgreSQL refuses them.
    """
    text = text[:_MOST_TEXT].encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\u2400")
    return _without_secrets(text)[:length]


def _redact(value: object, secrets: frozenset[str], depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        # PostgreSQL refuses NaN and Infinity in JSON.
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, int):
        # JSON parsers of other languages round larger integers.
        return value if -(2**53) <= value <= 2**53 else str(value)[:MAX_TEXT]
    if isinstance(value, str | Promise):
        return redact_text(str(value))
    if isinstance(value, Mapping):
        return _mapping(value, secrets, depth)
    if isinstance(value, list | tuple | set | frozenset):
        if depth == 0:
            return f"<{len(value)} items>"
        items = [_redact(item, secrets, depth - 1) for item in list(value)[:MAX_ITEMS]]
        return items if len(value) <= MAX_ITEMS else [*items, f"<{len(value) - MAX_ITEMS} more>"]
    return _scalar(value)


def _mapping(value: Mapping[Any, Any], secrets: frozenset[str], depth: int) -> Any:
    if depth == 0:
        return f"<{len(value)} items>"
    result: dict[str, Any] = {}
    for name, item in list(value.items())[:MAX_ITEMS]:
        is_secret = str(name) in secrets or is_secret_name(str(name))
        # Whether a value was sent is no secret.
        hidden = is_secret and item is not None and item != "" and not isinstance(item, bool)
        result[redact_text(str(name), 100)] = REDACTED if hidden else _redact(item, secrets, depth - 1)
    if len(value) > MAX_ITEMS:
        result["…"] = f"<{len(value) - MAX_ITEMS} more>"
    return result


def _scalar(value: object) -> str:
    """Return dates, decimals and UUIDs as in responses, and the names of the classes of other objects."""
    try:
        return redact_text(str(json.loads(json.dumps(value, cls=DjangoJSONEncoder))))
    except TypeError:
        return f"<{type(value).__name__}>"
