from __future__ import annotations

from collections.abc import Iterable


class ForeignRecipient(ValueError):
    """A named recipient is not a member of the notification's organization (see ``NOTIFY_MEMBERS``)."""

    def __init__(self, keys: Iterable[object]) -> None:
        super().__init__(f"These recipients are not members of the organization: {', '.join(map(str, keys))}.")


class ForbiddenDestination(ValueError):
    """The server must not call this address."""


class InvalidLink(ValueError):
    """The unsubscribe link was not issued by this project, or its account no longer exists."""
