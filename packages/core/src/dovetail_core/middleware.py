"""The base of middleware that is sync and async in one class."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

GetResponse = Callable[[HttpRequest], Any]


class Middleware:
    """Subclasses define ``respond`` and ``arespond``; Django calls the one that its server needs.

    ::

        class ServerTimingMiddleware(Middleware):
            def respond(self, request):
                return self.marked(self.get_response(request))

            async def arespond(self, request):
                return self.marked(await self.get_response(request))

    An async server then needs no thread for this middleware, as it does for one that is sync only.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        return self.arespond(request) if self.is_async else self.respond(request)

    def respond(self, request: HttpRequest) -> HttpResponseBase:
        raise NotImplementedError

    async def arespond(self, request: HttpRequest) -> HttpResponseBase:
        raise NotImplementedError
