from __future__ import annotations

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from dovetail_core.middleware import Middleware
from dovetail_core.models import uuid7


class AuditMiddleware(Middleware):
    """Lets entries find the request, and records refusals and failures after its transaction.

    Put it after the authentication middleware. Entries hold the user and credential that REST framework or Django has
    authenticated. If a view has not read ``request.user``, its first entry without another actor does. As for any such
    view, the response then varies on the cookie.
    """

    def respond(self, request: HttpRequest) -> HttpResponseBase:
        # Late, because settings import this module before models can be loaded.
        from dovetail_audit.entries import refusals, units

        unit = units.Unit(request=request, request_id=str(uuid7()))
        with units.enter(unit):
            response: HttpResponseBase = self.get_response(request)
            refusals.finish(unit, request, response)
        return response

    async def arespond(self, request: HttpRequest) -> HttpResponseBase:
        from dovetail_audit.entries import refusals, units

        unit = units.Unit(request=request, request_id=str(uuid7()))
        with units.enter(unit):
            response: HttpResponseBase = await self.get_response(request)
            if refusals.concerns(unit, request, response) or unit.end():
                await sync_to_async(refusals.finish)(unit, request, response)
        return response
