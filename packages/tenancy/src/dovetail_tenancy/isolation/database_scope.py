"""Which rows the database is asked to show: those of the context, or of what a statement was bound to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from dovetail_tenancy.isolation.scope import Scope, active_scope, reporting

_bound: ContextVar[Scope | None] = ContextVar("dovetail_tenancy_row_security", default=None)


def scope_in_database() -> Scope | None:
    """What the next statement may see. None: no organization's rows.

    Asks no resolver of a request for its organization: the lookup of a session would find out, and refuse a request
    that needs no organization.
    """
    scope = _bound.get() or active_scope()
    return Scope(reason="report") if scope is None and reporting() else scope


@contextmanager
def in_database(scope: Scope | None) -> Iterator[None]:
    """Show ``scope``'s rows, whatever is active; the ORM's own conditions stay as they are. None changes nothing."""
    if scope is None:
        yield
        return
    before = _bound.get()
    _bound.set(scope)
    try:
        yield
    finally:
        _bound.set(before)
