from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class ForeignRecipient(ValueError):
    """A named recipient is not a member of the notification's organization (see ``NOTIFY_MEMBERS``)."""

    def __init__(self, keys: Iterable[Any]) -> None:
        super().__init__(f"Not of the organization that the notification is about: {', '.join(map(str, keys))}.")


class ForbiddenDestination(ValueError):
    """The server may not call this address."""


class InvalidLink(ValueError):
    """The unsubscribe link was not issued by this project, or its account no longer exists."""
