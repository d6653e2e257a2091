"""The errors that services raise. ``str(error)`` may be shown to people; ``error.code`` is stable."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar


class APIKeysError(Exception):
    """A rule of API keys forbids the change."""

    code: ClassVar[str] = "invalid"
    #: The name of the invalid argument, if the error is about one.
    field: ClassVar[str | None] = None


class UnknownScope(APIKeysError):
    code = "unknown_scope"
    field = "scopes"

    def __init__(self, unknown: Iterable[str], declared: Iterable[str]) -> None:
        super().__init__(f"Unknown: {', '.join(map(repr, unknown))}. The scopes are: {', '.join(declared)}.")


class BeyondOwn(APIKeysError):
    """A key cannot create or rotate a key that has more rights than itself."""

    code = "beyond_own"

    def __init__(self, what: str) -> None:
        super().__init__(f"A key cannot give what it does not have itself: {what}.")


class InvalidValue(APIKeysError):
    def __init__(self, field: str, message: str) -> None:
        self.field = field  # type: ignore[misc]  # per instance
        super().__init__(message)


class NotActive(APIKeysError):
    """The key is revoked or expired, and can no longer be changed or rotated."""

    code = "not_active"

    def __init__(self, status: str) -> None:
        super().__init__(f"This key is {status}. Make a new one.")


class AlreadyRotated(APIKeysError):
    code = "already_rotated"

    def __init__(self) -> None:
        super().__init__("This key has been rotated already. Rotate its successor, or make a new key.")


class Gone(APIKeysError):
    """The key to change no longer exists."""

    code = "not_found"

    def __init__(self) -> None:
        super().__init__("This key does not exist any more.")


def shortened(value: Any) -> str:
    """The ``repr`` of a value for a message, cut to 60 characters on one line."""
    return repr(value)[:60]
