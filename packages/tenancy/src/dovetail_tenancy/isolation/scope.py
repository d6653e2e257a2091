"""The scope of the running code: no organization, one organization, or all of them for a stated reason.

A scope holds the primary key of a row of the model that ``TENANCY_ORGANIZATION_MODEL`` names.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ParamSpec, Self, TypeVar, cast

from django.core.exceptions import (
    BadRequest,
    ImproperlyConfigured,
    PermissionDenied,
    SuspiciousOperation,
    ValidationError,
)
from django.db import models
from django.http import Http404

from dovetail_core import context
from dovetail_core.models import get_setting_model
from dovetail_tenancy.conf import conf

logger = logging.getLogger("dovetail.tenancy")

# Skipped in the report of an unscoped access, which names the line of the project that caused it.
_SKIPPED_PACKAGES = frozenset({"django", "dovetail_tenancy", "rest_framework", "asgiref", "contextlib", "functools"})

P = ParamSpec("P")
R = TypeVar("R")


def get_organization_model() -> type[models.Model]:
    """Return the model that ``TENANCY_ORGANIZATION_MODEL`` names. Models must be loaded."""
    return get_setting_model("TENANCY_ORGANIZATION_MODEL")


def organization_key(organization: object) -> Any:
    """Return the primary key of ``organization`` (an instance or a key) in its Python type.

    Raise ``ValueError`` if it is neither, or if the instance is not saved.
    """
    model = get_organization_model()
    value = organization.pk if isinstance(organization, model) else organization
    try:
        # The type matters: "1" does not equal the 1 of a row, which would then belong to another organization.
        key = None if value is None else parse_key(model, value)
    except ValueError as error:
        raise ValueError(f"{organization!r} is neither a {model._meta.label} nor the primary key of one.") from error
    if key is None:
        raise ValueError(f"{organization!r} has no primary key. Save the {model._meta.label} first.")
    return key


def parse_key(model: type[models.Model], value: object) -> Any:
    """Convert ``value`` (a key, or its text from a client) to the type of the model's primary key.

    Raise ``ValueError`` if no row can have this key: it has the wrong shape, is an integer outside the column's range
    or is too long. Some databases fail on such a value instead of finding no row.
    """
    key: Any = model._meta.pk
    while key.remote_field:
        key = key.target_field
    try:
        parsed = key.to_python(value)
        # PostgreSQL refuses to compare with a NUL.
        if isinstance(value, str) and "\0" in value:
            raise ValueError("A key must not contain NUL.")
        # Converted values too: int() accepts a UUID, and the result fits into no integer column.
        if parsed is not value or isinstance(value, int | str):
            key.run_validators(parsed)
    except ValidationError as error:
        raise ValueError("; ".join(error.messages)) from error
    return parsed


class TenantRequired(RuntimeError):
    """Code accessed rows of a tenant model while no organization was active."""

    def __init__(self, access: str) -> None:
        super().__init__(
            f"{access} requires an active organization. Wrap the code in `with tenant(organization):`, or in "
            "`with unscoped(reason=…):` if it must see the rows of all organizations. In a request, add the "
            "InOrganization permission to the view. To delete a user or an organization, call "
            "dovetail_tenancy.services.delete_user or delete_organization. To run a management command for all "
            "organizations, add it to TENANCY_UNSCOPED_COMMANDS."
        )


class TenantMismatch(SuspiciousOperation):
    """Code tried to write a row of another organization than the active one."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One organization, all of them if ``reason`` is set, or none."""

    organization_id: Any = None
    reason: str | None = None

    @property
    def everything(self) -> bool:
        return self.reason is not None


@dataclass(slots=True, eq=False)
class _Frame:
    """An entry of the context's stack of scopes, linked to the entry below.

    The link keeps the state out of the context manager, which all threads that run one decorated function share. A
    ``ContextVar`` token cannot be reset from another context.
    """

    owner: object
    scope: Scope | None
    below: _Frame | None
    organization_id_before: Any = field(default_factory=context.organization_id)
    open: bool = False
    resolve: Callable[[], Any] | None = None


_top: ContextVar[_Frame | None] = ContextVar("dovetail_tenancy", default=None)


def current_scope() -> Scope | None:
    """Return the active scope, or None. Call the resolver of an open slot once."""
    frame = _top.get()
    if frame is None:
        return None
    if frame.scope is None and frame.resolve is not None:
        # Removed first: the resolver runs queries itself, and a resolver that fails must not run again for every row.
        resolve, frame.resolve = frame.resolve, None
        if (organization_id := resolve()) is not None:
            _fill(frame, organization_id)
    return frame.scope


def active_scope() -> Scope | None:
    """Return the active scope without calling a resolver. None for an open slot that is not filled yet."""
    frame = _top.get()
    return frame.scope if frame else None


def require_scope(access: str) -> Scope:
    """Return the active scope. Without one, raise ``TenantRequired``, or log a warning in report mode.

    ``access`` describes the access in the message, such as ``"An update on shop.Order"``.
    """
    scope = current_scope()
    if scope is None:
        if not in_report_mode():
            raise TenantRequired(access)
        place = _calling_line()
        logger.warning("no organization: %s at %s", access, place, extra={"what": access, "place": place})
        return Scope(reason="report")
    return scope


def in_report_mode() -> bool:
    """Return whether ``TENANCY_ENFORCEMENT`` is ``"report"``: access without a scope is logged and not refused."""
    return conf.ENFORCEMENT == "report"


def _calling_line() -> str:
    frame = inspect.currentframe()
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in _SKIPPED_PACKAGES:
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return "unknown"


def current_tenant_id() -> Any:
    """Return the active organization's primary key, or None if there is none or all rows are visible."""
    scope = current_scope()
    return scope.organization_id if scope else None


def require_tenant() -> Any:
    """Return the active organization's primary key. Raise ``TenantRequired`` if not exactly one is active."""
    organization_id = current_tenant_id()
    if organization_id is None:
        raise TenantRequired("This")
    return organization_id


class _Activation:
    """A context manager, sync and async, and a decorator. It may be nested and shared between threads."""

    def __init__(self, scope: Callable[[], Scope]) -> None:
        self._scope = scope

    def __enter__(self) -> Scope:
        scope = self._scope()
        _push(self, scope)
        return scope

    def __exit__(self, *exception: object) -> None:
        _pop(self)

    async def __aenter__(self) -> Scope:
        return self.__enter__()

    async def __aexit__(self, *exception: object) -> None:
        self.__exit__()

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{function.__qualname__} is a generator: it would run after the decorator has restored the previous "
                "scope. Use `with tenant(…):` inside it."
            )
        return run_within(lambda kwargs: type(self)(self._scope), function)


def run_within(
    scope_of: Callable[[dict[str, Any]], AbstractContextManager[object]], function: Callable[P, R]
) -> Callable[P, R]:
    """Wrap a function, sync or async, whose calls run in the scope that ``scope_of`` returns for their ``kwargs``."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def run_async(*args: P.args, **kwargs: P.kwargs) -> Any:
            with scope_of(kwargs):
                return await function(*args, **kwargs)

        return cast("Callable[P, R]", run_async)

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with scope_of(kwargs):
            return function(*args, **kwargs)

    return run


def tenant(organization: object) -> _Activation:
    """Make the rows of one organization visible, and no others.

    ``organization`` is an instance of the organization model or its primary key. Use it as ``with``, ``async with`` or
    a decorator. On exit the previous scope is active again.
    """
    return _Activation(lambda: Scope(organization_id=organization_key(organization)))


def unscoped(*, reason: str) -> _Activation:
    """Make the rows of all organizations visible. Each use writes ``reason`` to the log ``dovetail.tenancy``."""
    if not reason.strip():
        raise ValueError("unscoped() requires a reason for the log, such as reason='nightly export'.")
    return _Activation(lambda: _everything(reason))


def within(scope: Scope) -> _Activation:
    return _Activation(lambda: scope)


def iterate_within(scope: AbstractContextManager[object], rows: Iterator[R]) -> Iterator[R]:
    """Enter ``scope`` for each step of the iteration. The consumer's code between the steps runs outside of it."""
    while True:
        with scope:
            try:
                row = next(rows)
            except StopIteration:
                return
        yield row


async def aiterate_within(scope: AbstractContextManager[object], rows: AsyncIterator[R]) -> AsyncIterator[R]:
    while True:
        with scope:
            try:
                row = await anext(rows)
            except StopAsyncIteration:
                return
        yield row


def _everything(reason: str) -> Scope:
    logger.info("unscoped: %s", reason, extra={"reason": reason})
    return Scope(reason=reason)


class Slot:
    """An empty scope for a request's organization: no rows are visible until it is filled.

    ``resolve`` returns the key of the organization or None. It is called when the organization is first needed.
    """

    def __init__(self, resolve: Callable[[], Any] | None = None) -> None:
        self.resolve = resolve
        self.frame: _Frame | None = None

    def __enter__(self) -> Self:
        # Entered again for each later part of a streaming response, which has the same organization.
        before = self.frame
        self.frame = _push(self, before.scope if before else None)
        self.frame.open = before is None
        self.frame.resolve = before.resolve if before else self.resolve
        return self

    def __exit__(self, *exception: object) -> None:
        _pop(self)

    def show_everything(self, *, reason: str) -> None:
        if self.frame is not None:
            self.frame.scope = _everything(reason)


def fill_slot(organization: object) -> None:
    """Fill the slot that ``TenantMiddleware`` opened. Raise ``ImproperlyConfigured`` if the middleware did not run."""
    frame = _top.get()
    if frame is None or not frame.open:
        raise ImproperlyConfigured(
            "TenantMiddleware did not run for this request. Add 'dovetail_tenancy.middleware.TenantMiddleware' to "
            "MIDDLEWARE, after the authentication middleware."
        )
    key = organization_key(organization)
    if frame.scope is not None and frame.scope.organization_id not in (None, key):
        raise TenantMismatch(f"This request already runs for organization {frame.scope.organization_id}.")
    _fill(frame, key)


def _fill(frame: _Frame, organization_id: object) -> None:
    frame.scope = Scope(organization_id=organization_id)
    context.set_organization_id(organization_id)


def _push(owner: object, scope: Scope | None) -> _Frame:
    frame = _Frame(owner, scope, below=_top.get())
    _top.set(frame)
    context.set_organization_id(scope.organization_id if scope else None)
    return frame


def _pop(owner: object) -> None:
    frame = _top.get()
    while frame is not None and frame.owner is not owner:
        frame = frame.below
    # None: the scope was entered in another context, and this context's scope must stay.
    if frame is not None:
        _top.set(frame.below)
        context.set_organization_id(frame.organization_id_before)


_database_scope: ContextVar[Scope | None] = ContextVar("dovetail_tenancy_row_security", default=None)


def current_database_scope() -> Scope | None:
    """Return the scope that row-level security applies to the next statement. None hides the rows of all organizations.

    It calls no resolver of a request: the query that loads a session would resolve the organization, and refuse a
    request that needs none.
    """
    scope = _database_scope.get() or active_scope()
    return Scope(reason="report") if scope is None and in_report_mode() else scope


@contextmanager
def override_database_scope(scope: Scope) -> Iterator[None]:
    """Apply ``scope`` in row-level security, whichever is active. The conditions of the ORM do not change."""
    before = _database_scope.get()
    _database_scope.set(scope)
    try:
        yield
    finally:
        _database_scope.set(before)


def dump_current_organization() -> str:
    """Return the active organization's key as text for a message. Empty if there is none or all rows are visible."""
    try:
        organization_id = current_tenant_id()
    except (BadRequest, PermissionDenied, Http404):
        # A session request without an organization may enqueue a task that needs none.
        organization_id = None
    return "" if organization_id is None else str(organization_id)


def organization_scope(key: object) -> AbstractContextManager[object]:
    """Return the scope of a task or socket for an organization's key, or an empty scope if the key is empty."""
    return tenant(key) if key else Slot()
