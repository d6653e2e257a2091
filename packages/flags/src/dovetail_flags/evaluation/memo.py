from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from django.http import HttpRequest

from dovetail_core import context as core_context
from dovetail_flags.evaluation.context import read_context
from dovetail_flags.providers.base import Provider, View
from dovetail_flags.types.context import LazyContext
from dovetail_flags.types.details import Details, own_value

_NAME = "_dovetail_flags"


class Evaluator(Protocol):
    """The part of the facade ``flags`` that a request uses."""

    @property
    def provider(self) -> Provider: ...
    def enabled(self, key: str, request: HttpRequest, /, *, default: bool | None) -> bool: ...
    def value(self, key: str, request: HttpRequest, /, *, default: Any) -> Any: ...
    def details(self, key: str, request: HttpRequest, /, *, default: Any) -> Details: ...
    def all(self, request: HttpRequest, /, *, client_visible: bool) -> dict[str, Details]: ...
    async def aload(self, request: HttpRequest, /) -> None: ...
    async def aenabled(self, key: str, request: HttpRequest, /, *, default: bool | None) -> bool: ...
    async def avalue(self, key: str, request: HttpRequest, /, *, default: Any) -> Any: ...
    async def adetails(self, key: str, request: HttpRequest, /, *, default: Any) -> Details: ...


class RequestFlags:
    """The flags of a request: ``request.flags``.

    All evaluations of a request read the same flags, and the result of each is stored. So a request never sees two
    states of a flag. The context is read again if the caller or the organization becomes known in between, as by the
    authentication of REST framework: results of an anonymous context would otherwise apply to the user.
    """

    __slots__ = ("_caller", "_context", "_flags", "_request", "_results", "_view")

    def __init__(self, flags: Evaluator, request: HttpRequest) -> None:
        self._flags = flags
        self._request = request
        self._view: View | None = None
        self._context: LazyContext | None = None
        self._caller: tuple[Any, ...] | None = None
        self._results: dict[tuple[str, type], Details] = {}

    def enabled(self, key: str, *, default: bool | None = None) -> bool:
        return self._flags.enabled(key, self._request, default=default)

    def value(self, key: str, *, default: Any = None) -> Any:
        return self._flags.value(key, self._request, default=default)

    def details(self, key: str, *, default: Any = None) -> Details:
        return self._flags.details(key, self._request, default=default)

    def all(self, *, client_visible: bool = True) -> dict[str, Details]:
        return self._flags.all(self._request, client_visible=client_visible)

    async def aenabled(self, key: str, *, default: bool | None = None) -> bool:
        return await self._flags.aenabled(key, self._request, default=default)

    async def avalue(self, key: str, *, default: Any = None) -> Any:
        return await self._flags.avalue(key, self._request, default=default)

    async def adetails(self, key: str, *, default: Any = None) -> Details:
        return await self._flags.adetails(key, self._request, default=default)

    @property
    def view(self) -> View:
        """The flags that this request reads."""
        if self._view is None:
            self._view = self._flags.provider.pin()
        return self._view

    @property
    def context(self) -> LazyContext:
        """The context that ``FLAGS_CONTEXT`` gives for the request."""
        values = vars(self._request)
        # REST framework sets the user and the credential on Django's request after it has authenticated them.
        caller = (core_context.organization_id(), id(values.get("user")), id(values.get("auth")))
        if self._context is None or caller != self._caller:
            self._caller = caller
            self._context = LazyContext(lambda: read_context(self._request))
            self._results = {}
        return self._context

    def evaluate(self, key: str, default: Any) -> Details:
        context = self.context
        # By type, because a provider refuses a default of another type than the flag.
        question = (key, type(default))
        details = self._results.get(question)
        if details is None:
            details = self._results[question] = self.view.details(key, default, context)
        value = own_value(details.value)
        return details if value is details.value else replace(details, value=value)

    @property
    def is_loaded(self) -> bool:
        """Whether an evaluation needs no query for the context."""
        return self.context.is_loaded

    def load(self) -> None:
        """Read the context if it has not been read. Raise what ``FLAGS_CONTEXT`` raises."""
        self.context.load()

    async def aload(self) -> None:
        """Read the context in a thread. Await it before sync calls and templates in an event loop."""
        await self._flags.aload(self._request)


def of_request(flags: Evaluator, request: Any) -> RequestFlags:
    """Return the flags of a request of Django or REST framework."""
    request = getattr(request, "_request", request)
    values: dict[str, Any] = vars(request)
    if _NAME not in values:
        values[_NAME] = RequestFlags(flags, request)
    stored: RequestFlags = values[_NAME]
    return stored
