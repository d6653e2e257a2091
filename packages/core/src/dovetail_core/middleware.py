"""A base class for middleware that supports both sync and async requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

GetResponse = Callable[[HttpRequest], Any]


class Middleware:
    """Subclasses implement ``respond`` for sync and ``arespond`` for async requests.

    Under ASGI, Django runs sync-only middleware in a thread.
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
