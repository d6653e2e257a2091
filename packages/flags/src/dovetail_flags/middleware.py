from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from dovetail_core.middleware import GetResponse, Middleware


class FlagsMiddleware(Middleware):
    """Set ``request.flags``, which evaluates flags for the request. Nothing is evaluated before its first use."""

    def __init__(self, get_response: GetResponse) -> None:
        super().__init__(get_response)
        # Imported late, because settings may import this module, and the facade imports models.
        from dovetail_flags.evaluation.facade import flags

        self.flags = flags

    def respond(self, request: HttpRequest) -> HttpResponseBase:
        self._attach(request)
        response: HttpResponseBase = self.get_response(request)
        return response

    async def arespond(self, request: HttpRequest) -> HttpResponseBase:
        self._attach(request)
        # An evaluation in an event loop cannot query.
        await self.flags.arefresh()
        response: HttpResponseBase = await self.get_response(request)
        return response

    def _attach(self, request: Any) -> None:
        request.flags = self.flags.of(request)
