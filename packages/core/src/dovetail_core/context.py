"""The context of a unit of work (a request, a task, a socket message): principal, organization and request id.

The values are for logs, events and background tasks. Do not base authorization on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Principal(Protocol):
    """The acting person (a user) or machine (such as an API key). ``pk`` is unique across both."""

    pk: Any
    is_authenticated: Any


@runtime_checkable
class Credential(Protocol):
    """A ``request.auth`` with scopes. Its ``organization_id`` is authoritative.

    None means that it belongs to a user and not to an organization: the request has the user's organizations.
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
    """The primary key of the organization, or None."""
    return _organization_id.get()


def set_organization_id(value: object) -> None:
    """Set the organization for the rest of the unit of work. The enclosing :func:`bind` restores the old value."""
    _organization_id.set(value)


@contextmanager
def bind(
    *, request_id: str | None = _UNCHANGED, principal: object = _UNCHANGED, organization_id: object = _UNCHANGED
) -> Iterator[None]:
    """Set values inside a ``with`` block. On exit, restore every value of the context, whether set here or not.

    Values are restored and not cleared, because a task that runs eagerly inside a request must not lose the request's
    values. ``ContextVar.reset`` is not used: under ASGI the block may be left in another context than the one in which
    it was entered, and ``reset`` raises there.
    """
    variables: tuple[ContextVar[Any], ...] = (_request_id, _principal, _organization_id)
    previous = [variable.get() for variable in variables]
    for variable, value in zip(variables, (request_id, principal, organization_id), strict=True):
        if value is not _UNCHANGED:
            variable.set(value)
    try:
        yield
    finally:
        for variable, value in zip(variables, previous, strict=True):
            variable.set(value)
