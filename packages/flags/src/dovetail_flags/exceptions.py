"""The exceptions that services raise. ``str(error)`` may be shown to users; ``error.code`` is stable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


class FlagsError(Exception):
    """The base of the exceptions of this package."""

    code: ClassVar[str] = "invalid"


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake in a flag: a JSON pointer (RFC 6901) such as ``/rules/2/when/0/op``, a stable code, and an error text.

    The pointer starts at the flag. In HTTP responses, it follows ``#``.
    """

    pointer: str
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.pointer or '/'}: {self.message}"


class InvalidFlag(FlagsError):
    """The flag has mistakes, all of which are listed."""

    code = "invalid_flag"

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = list(mistakes)
        super().__init__(" ".join(map(str, self.mistakes)))


class Conflict(FlagsError):
    """The flag has changed since the version that the change is based on. ``current`` is the present flag."""

    code = "version_conflict"

    def __init__(self, current: Any, version: int) -> None:
        self.current = current
        super().__init__(
            f"The flag {current.key!r} has version {current.version}; the change is based on version {version}. Read "
            "the flag again."
        )


class KeyTaken(FlagsError):
    code = "key_taken"

    def __init__(self, key: str) -> None:
        super().__init__(f"A flag with the key {key!r} exists. Archived flags keep their keys.")


class TypeIsFixed(FlagsError):
    code = "type_is_fixed"

    def __init__(self, key: str, kind: str) -> None:
        super().__init__(f"The type of the flag {key!r} is {kind} and cannot change. Create a flag with another key.")


class Archived(FlagsError):
    code = "archived"

    def __init__(self, key: str) -> None:
        super().__init__(f"The flag {key!r} is archived. Revert it to an earlier version to use it again.")


class ToggleForbidden(FlagsError):
    code = "permission_denied"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"The change would enable or disable the flag {key!r}, which requires the permission toggle_flag."
        )


class Gone(FlagsError):
    code = "not_found"

    def __init__(self, key: str) -> None:
        super().__init__(f"The flag {key!r} no longer exists.")


class UnknownVersion(FlagsError):
    code = "unknown_version"

    def __init__(self, key: str, version: int) -> None:
        super().__init__(f"The flag {key!r} has no version {version}.")


class ReadOnly(FlagsError):
    """The flags of ``FLAGS_PROVIDER`` are changed in its own service."""

    code = "flags_read_only"

    def __init__(self, provider: str) -> None:
        super().__init__(f"Flags are read from {provider} and cannot be changed here.")


class UnknownFlag(FlagsError):
    """The flag is neither stored nor declared. Raised if ``FLAGS_UNKNOWN`` is ``raise``."""

    code = "unknown_flag"

    def __init__(self, key: str) -> None:
        super().__init__(f"The flag {key!r} does not exist. Create it, or declare it in FLAGS_DECLARED.")
