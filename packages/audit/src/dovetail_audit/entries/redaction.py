"""What of an event is recorded: no secrets, and personal data only in the columns that can be erased."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from dovetail_audit.entries import canonical
from dovetail_audit.entries.patterns import has_address, is_personal, is_secret, redact_text
from dovetail_core.redaction import REDACTED

CHANGED: Final = "changed"
PERSONAL: Final = "[personal]"
#: Bytes of the canonical JSON of ``Entry.data``, and of ``Entry.private``.
MAX_BYTES: Final = 16_384
#: Bytes of a value that its size and hash would not make smaller.
_WORTH: Final = 200
#: Characters of a key within the JSON.
MAX_KEY: Final = 100
#: Characters of a column that are searched for secrets: before it is cut, since half of a secret is not recognized.
_MOST_TEXT: Final = 4096


def redact(document: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return ``document`` (as ``canonical.clean`` returns it) without secrets and personal data, and the personal data.

    The keys of the latter are paths, such as ``"parameters.email"``; ``"keys.parameters.[personal]"`` is a key that is
    an address. The value of a secret field is ``"[redacted]"``, or ``"changed"`` within ``changes``.
    """
    private: dict[str, Any] = {}
    data = {name: _walk(value, name, name == "changes", private) for name, value in document.items()}
    return fit(data), fit(private)


def _walk(value: Any, path: str, changes: bool, private: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return dict(_items(value, path, changes, private))
    if isinstance(value, list):
        return [_walk(item, f"{path}.{index}", changes, private) for index, item in enumerate(value)]
    return _text(value, path, private) if isinstance(value, str) else value


def _items(value: dict[str, Any], path: str, changes: bool, private: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    names: set[str] = set()
    for name, item in value.items():
        key = redact_text(name)
        public = _unique(PERSONAL if has_address(key) else key[:MAX_KEY], names)
        if has_address(key):
            private[f"keys.{path}.{public}"] = key
        yield public, _field(name, item, f"{path}.{public}", changes, private)


def _field(name: str, value: Any, path: str, changes: bool, private: dict[str, Any]) -> Any:
    if value is None or isinstance(value, bool) or value in ("", PERSONAL, CHANGED):
        return value
    if is_secret(name):
        return CHANGED if changes else REDACTED
    if is_personal(name):
        private[path] = without_secrets(value)
        return PERSONAL
    return _walk(value, path, changes, private)


def _text(value: str, path: str, private: dict[str, Any]) -> str:
    value = redact_text(value)
    if has_address(value):
        private[path] = value
        return PERSONAL
    return value


def _unique(name: str, names: set[str]) -> str:
    """Return the name, or one with a number if it is taken: keys that were replaced or cut may be equal."""
    number, unique = 1, name
    while unique in names:
        number += 1
        unique = f"{name} {number}"
    names.add(unique)
    return unique


def without_secrets(value: Any) -> Any:
    """Return cleaned JSON without secrets. Personal data stays."""
    if isinstance(value, dict):
        names: set[str] = set()
        return {
            _unique(redact_text(name)[:MAX_KEY], names): REDACTED if is_secret(name) else without_secrets(item)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    return redact_text(value) if isinstance(value, str) else value


def public_text(value: str, length: int) -> str:
    """Return the text of a hashed column: without secrets, and ``"[personal]"`` for a text with an e-mail address."""
    text = redact_text(value[:_MOST_TEXT])
    return PERSONAL if has_address(text) else canonical.clean_text(text, length)


def personal_text(value: str, length: int) -> str:
    """Return the text of a column that can be erased, without secrets."""
    return canonical.clean_text(redact_text(value[:_MOST_TEXT]), length)


def fit(document: dict[str, Any]) -> dict[str, Any]:
    """Replace the largest values by their sizes and hashes until the document has at most ``MAX_BYTES``.

    Each value is measured once: a client chooses the document, and 100 times 100 texts took seconds otherwise.
    """
    sizes = {name: canonical.size(value) for name, value in document.items()}
    excess = canonical.size(document) - MAX_BYTES
    if excess <= 0:
        return document
    result = dict(document)
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        inner = result[name]
        if sizes[name] <= _WORTH:
            break
        smaller = _fit_inner(inner, excess) if isinstance(inner, dict) and len(inner) > 1 else _summary(inner)
        excess -= sizes[name] - canonical.size(smaller)
        result[name] = smaller
        if excess <= 0:
            return result
    return _summary(document)


def _fit_inner(document: dict[str, Any], excess: int) -> dict[str, Any]:
    """Replace the largest values until the document is smaller by ``excess`` bytes, or the whole document."""
    sizes = {name: canonical.size(value) for name, value in document.items()}
    result = dict(document)
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if sizes[name] <= _WORTH:
            break
        result[name] = _summary(document[name])
        excess -= sizes[name] - canonical.size(result[name])
        if excess <= 0:
            return result
    return _summary(document)


def _summary(value: object) -> dict[str, Any]:
    return {"truncated": canonical.summary(value)}
