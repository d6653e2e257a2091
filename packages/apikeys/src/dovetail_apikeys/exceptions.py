"""The exceptions that services raise. ``str(error)`` may be shown to users; ``error.code`` is stable."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar


class APIKeysError(Exception):
    """The base of the exceptions of this package."""

    code: ClassVar[str] = "invalid"
    #: The name of the invalid argument, if the error is about one.
    field: ClassVar[str | None] = None


class UnknownScope(APIKeysError):
    code = "unknown_scope"
    field = "scopes"

    def __init__(self, unknown: Iterable[str], declared: Iterable[str]) -> None:
        names = ", ".join(f"{name!r:.60}" for name in unknown)
        super().__init__(f"Unknown scopes: {names}. The declared scopes are: {', '.join(declared)}.")


class BeyondOwn(APIKeysError):
    code = "beyond_own"

    def __init__(self, rights: str) -> None:
        super().__init__(f"An API key cannot grant rights that it does not have: {rights}.")


class InvalidValue(APIKeysError):
    def __init__(self, field: str, message: str) -> None:
        self.field = field  # type: ignore[misc]  # per instance
        super().__init__(message)


class NotActive(APIKeysError):
    """The key is revoked or expired, and can no longer be changed or rotated."""

    code = "not_active"

    def __init__(self, status: str) -> None:
        super().__init__(f"This key is {status}. Create a new key.")


class AlreadyRotated(APIKeysError):
    code = "already_rotated"

    def __init__(self) -> None:
        super().__init__("This key has already been rotated. Rotate its successor, or create a new key.")


class Gone(APIKeysError):
    code = "not_found"

    def __init__(self) -> None:
        super().__init__("This key no longer exists.")


class NotAMember(APIKeysError):
    """The creator of the key is not a member of the organization (``API_KEYS_REVOKE_WITH_MEMBER``)."""

    code = "not_a_member"

    def __init__(self) -> None:
        super().__init__("The creator of this key is not a member of the organization.")
