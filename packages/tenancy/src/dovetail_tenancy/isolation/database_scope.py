"""The scope that row-level security applies: the active one, or the one that a statement is bound to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from dovetail_tenancy.isolation.scope import Scope, active_scope, in_report_mode

_override: ContextVar[Scope | None] = ContextVar("dovetail_tenancy_row_security", default=None)


def current_database_scope() -> Scope | None:
    """Return the scope of the next statement. None: no organization's rows.

    It calls no resolver of a request: the query that loads a session would resolve the organization, and refuse a
    request that needs none.
    """
    scope = _override.get() or active_scope()
    return Scope(reason="report") if scope is None and in_report_mode() else scope


@contextmanager
def override_database_scope(scope: Scope | None) -> Iterator[None]:
    """Apply ``scope`` in row-level security, whatever is active. The ORM's conditions stay; None changes nothing."""
    if scope is None:
        yield
        return
    before = _override.get()
    _override.set(scope)
    try:
        yield
    finally:
        _override.set(before)
