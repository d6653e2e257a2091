"""The unit of work whose entries are written: a request, a command or a task, and what happens at its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest


@dataclass(slots=True)
class Unit:
    """``origin``: ``web``, ``api``, ``admin_api`` and ``admin_site`` are requests; ``command`` and ``task`` are not.

    ``at_end`` holds functions that write entries after the transaction of the request, which a refusal rolls back.
    """

    origin: str = ""
    request: HttpRequest | None = None
    #: The actor of a task: kind, key, authentication, impersonator. A command and a task without one are the system.
    actor: tuple[str, str, str, str | None] | None = None
    request_id: str = ""
    organization_id: Any = None
    at_end: list[Callable[[], object]] = field(default_factory=list)
    #: Whether an entry names this refusal or failure, so that the middleware need not.
    is_refusal_recorded: bool = False
    has_ended: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def defer(self, write: Callable[[], object], *, first: bool) -> bool:
        """Call ``write`` at the end. Return False if the unit has ended, in another thread."""
        with self.lock:
            if not self.has_ended:
                self.at_end.insert(0 if first else len(self.at_end), write)
            return not self.has_ended

    def end(self) -> list[Callable[[], object]]:
        """Return the functions of the end."""
        with self.lock:
            self.has_ended = True
            return self.at_end


_unit: ContextVar[Unit | None] = ContextVar("dovetail_audit_unit", default=None)
_task: ContextVar[str] = ContextVar("dovetail_audit_task", default="")


def current() -> Unit | None:
    return _unit.get()


def begin_task(key: str) -> None:
    """Make a task the current unit. A task that runs at once, in a request or command, belongs to that."""
    if _unit.get() is None:
        _unit.set(Unit(origin="task"))
        _task.set(key)


def end_task(key: str) -> None:
    if _task.get() == key:
        _unit.set(None)
        _task.set("")


def origin() -> str:
    """Return where the current event comes from: ``""`` outside of requests, commands and tasks."""
    unit = _unit.get()
    if unit is None:
        return ""
    if unit.origin or unit.request is None:
        return unit.origin
    return _origin_of(unit.request)


def _origin_of(request: HttpRequest) -> str:
    match = request.resolver_match
    if match is None:
        return "web"
    if "admin" in match.app_names:
        return "admin_site"
    view = getattr(match.func, "cls", None) or getattr(match.func, "view_class", None)
    if view is None or not hasattr(match.func, "cls"):
        return "web"
    # The class attribute that dovetail_adminapi reads.
    return "admin_api" if hasattr(view, "admin") else "api"


@contextmanager
def enter(unit: Unit) -> Iterator[Unit]:
    """Make ``unit`` the current one for a block."""
    # Restored by value and not by token: under ASGI, the block may end in another context, where reset() raises.
    previous = _unit.get()
    _unit.set(unit)
    try:
        yield unit
    finally:
        _unit.set(previous)
