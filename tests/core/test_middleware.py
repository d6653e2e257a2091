from __future__ import annotations

import asyncio

import pytest
from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from dovetail_core.middleware import Middleware


class Marking(Middleware):
    def respond(self, request: HttpRequest) -> HttpResponseBase:
        return self.marked(self.get_response(request), "sync")

    async def arespond(self, request: HttpRequest) -> HttpResponseBase:
        return self.marked(await self.get_response(request), "async")

    @staticmethod
    def marked(response: HttpResponseBase, way: str) -> HttpResponseBase:
        response.headers["X-Way"] = way
        return response


def test_middleware_is_sync_for_a_sync_view() -> None:
    middleware = Marking(lambda request: HttpResponse())
    assert not iscoroutinefunction(middleware)
    response = middleware(HttpRequest())
    assert isinstance(response, HttpResponse)
    assert response.headers["X-Way"] == "sync"


def test_middleware_is_async_for_an_async_view() -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    middleware = Marking(view)
    assert iscoroutinefunction(middleware)

    async def respond() -> HttpResponseBase:
        response: HttpResponseBase = await middleware(HttpRequest())  # type: ignore[misc]  # awaitable, as asserted
        return response

    assert asyncio.run(respond()).headers["X-Way"] == "async"


def test_subclass_must_implement_respond() -> None:
    middleware = Middleware(lambda request: HttpResponse())
    with pytest.raises(NotImplementedError):
        middleware(HttpRequest())
    with pytest.raises(NotImplementedError):
        asyncio.run(middleware.arespond(HttpRequest()))  # type: ignore[arg-type]  # a coroutine
