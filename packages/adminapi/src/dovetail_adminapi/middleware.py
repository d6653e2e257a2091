from __future__ import annotations

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from dovetail_core.middleware import Middleware


class AdminAPIMiddleware(Middleware):
    def respond(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = self.get_response(request)
        return response

    async def arespond(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = await self.get_response(request)
        return response
