from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Protocol

from dovetail_flags.types.context import Context
from dovetail_flags.types.details import Details, Health


class View(Protocol):
    """Flags that do not change while a request reads them."""

    def details(self, key: str, default: Any, context: Context) -> Details:
        """Evaluate a flag.

        If the value is ``default``, the details have an error, as from ``failure(default, ErrorCode.FLAG_NOT_FOUND,
        …)``, or the reason ``DEFAULT`` and no variant. Details may be stored for a request, by the type of ``default``.
        """
        ...

    def keys(self, *, client_visible: bool = False) -> Iterable[str]:
        """Return the keys of all flags, or of those that clients may read."""
        ...

    def kind(self, key: str) -> str | None:
        """Return the type of a flag, such as ``number``. None if it is unknown."""
        ...

    def token(self) -> str | None:
        """Return a text that differs if the flags do, for ETags. None if the provider cannot tell."""
        ...


class Provider:
    """The base of providers, which ``FLAGS_PROVIDER`` names.

    A subclass implements ``details()``, ``keys()`` and ``health()``. A process creates its provider at the first
    evaluation, so a provider may start threads; a forked process creates its own.
    """

    #: Whether the services of this package change its flags. Otherwise, admin endpoints answer 501.
    writable: ClassVar[bool] = False

    def details(self, key: str, default: Any, context: Context) -> Details:
        raise NotImplementedError

    def keys(self, *, client_visible: bool = False) -> Iterable[str]:
        raise NotImplementedError

    def health(self) -> Health:
        raise NotImplementedError

    def kind(self, key: str) -> str | None:
        return None

    def token(self) -> str | None:
        return None

    def pin(self) -> View:
        """Return the flags as they are now. Called for each request, and for each evaluation outside of requests."""
        return self

    def refresh(self) -> None:
        """Read the flags again if they have changed. Called after a change in this process."""

    def expire(self) -> None:
        """Read the flags again at the next evaluation. Called after a change in another process, in any thread."""

    async def arefresh(self) -> None:
        """Read the flags if they are due. Called before async views, where an evaluation cannot query."""

    def close(self) -> None:
        """End threads and connections."""


class Invalidation:
    """The base of channels that tell other processes of a change at once, which ``FLAGS_INVALIDATION`` names.

    Without one, they see it within ``FLAGS_REFRESH_SECONDS``. A lost message only delays.
    """

    def start(self, changed: Callable[[], None]) -> None:
        """Call ``changed`` at each message. Called once in each process, at the first evaluation."""
        raise NotImplementedError

    def publish(self) -> None:
        """Send a message to all processes. Called after the commit of a change. Exceptions are logged."""
        raise NotImplementedError

    def close(self) -> None:
        """End threads and connections."""
