"""The context of one unit of work (a request, a task, a socket message): who, for which organization, under which id.

Values are for logs, events and hand-over to background work. They authorize nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Principal(Protocol):
    """Who acts: a person's user object or a machine's stand-in. ``pk`` is unique across both kinds."""

    pk: Any
    is_authenticated: Any


@runtime_checkable
class Credential(Protocol):
    """What an authentication class puts at ``request.auth`` when the credential itself names an organization.

    ``organization_id`` is authoritative; ``scopes`` is what the credential may do.
    """

    organization_id: Any
    scopes: Any


_UNCHANGED: Any = object()

_request_id: ContextVar[str | None] = ContextVar("dovetail_request_id", default=None)
_principal: ContextVar[Any] = ContextVar("dovetail_principal", default=None)
_organization_id: ContextVar[Any] = ContextVar("dovetail_organization_id", default=None)


def request_id() -> str | None:
    return _request_id.get()


def principal() -> Any:
    """The acting ``Principal``, or None."""
    return _principal.get()


def organization_id() -> Any:
    """The primary key of the organization that the work is for, or None."""
    return _organization_id.get()


def set_organization_id(value: Any) -> None:
    """Set for the rest of the unit of work; whoever opened that unit restores it (see :func:`bind`)."""
    _organization_id.set(value)


@contextmanager
def bind(
    *, request_id: str | None = _UNCHANGED, principal: Any = _UNCHANGED, organization_id: Any = _UNCHANGED
) -> Iterator[None]:
    """Set values for a block, and on leaving restore every value of the context to what it was on entering.

    Restored to the previous value, never cleared: a task run eagerly inside a request must not wipe the request's
    values. Never by ``Token``: under ASGI the block may be left in another context than it was entered in, where
    ``ContextVar.reset`` raises.
    """
    given = ((_request_id, request_id), (_principal, principal), (_organization_id, organization_id))
    previous = [(variable, variable.get()) for variable, _ in given]
    for variable, value in given:
        if value is not _UNCHANGED:
            variable.set(value)
    try:
        yield
    finally:
        for variable, value in previous:
            variable.set(value)
