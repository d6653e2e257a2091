from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from django.core.exceptions import SynchronousOnlyOperation

_EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})


def text(value: object) -> str:
    """Return the text by which values are compared and hashed: of the key 7 and of "7" alike.

    UUIDs are in lower case with hyphens, and booleans are ``true`` and ``false``, as in JSON.
    """
    if type(value) is str:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # JSON does not distinguish 1.0 from 1
    return str(value)


def encodable(text: str) -> str:
    """Return the text with halves of surrogate pairs as escapes such as ``\\ud800``, which are also those of JSON.

    A JSON body can contain them, UTF-8 cannot, and so a response that repeats them would fail.
    """
    return text.encode(errors="backslashreplace").decode()


class Context:
    """For whom a flag is evaluated: a targeting key, such as that of an organization, and attributes for rules."""

    __slots__ = ("attributes", "targeting_key")

    targeting_key: str | None
    attributes: Mapping[str, Any]
    is_loaded: bool = True

    def __init__(self, targeting_key: object = None, attributes: Mapping[str, Any] | None = None) -> None:
        self.targeting_key = None if targeting_key is None else text(targeting_key)
        self.attributes = _EMPTY if attributes is None else attributes

    def __repr__(self) -> str:
        return f"Context({self.targeting_key!r}, {dict(self.attributes)!r})"

    def extended(self, targeting_key: object, attributes: Mapping[str, Any] | None) -> Context:
        """Return a context with these attributes beside those of this one, and with this targeting key if it is set."""
        key = self.targeting_key if targeting_key is None else targeting_key
        return Context(key, {**self.attributes, **(attributes or {})})


class LazyContext(Context):
    """A context that is read at first use, because most flags have no rules and need none."""

    __slots__ = ("_error", "_read", "is_loaded")

    def __init__(self, read: Callable[[], Context]) -> None:
        self._read = read
        self._error: Exception | None = None
        self.is_loaded = False

    def __getattr__(self, name: str) -> Any:
        # Called only while the slot is empty.
        if name not in Context.__slots__:
            raise AttributeError(name)
        self.load()
        return getattr(self, name)

    def load(self) -> None:
        """Read the context if it has not been read. A failure is final, and raised again."""
        if self.is_loaded:
            return
        # Each of 200 flags would otherwise wait for the same unavailable service.
        if self._error is not None:
            raise self._error
        try:
            context = self._read()
            self.targeting_key, self.attributes = context.targeting_key, context.attributes
        except SynchronousOnlyOperation:  # in an event loop; a thread can read the context later
            raise
        except Exception as error:
            self._error = error
            raise
        self.is_loaded = True
