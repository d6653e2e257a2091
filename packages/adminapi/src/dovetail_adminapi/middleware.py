from __future__ import annotations

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from dovetail_core.middleware import Middleware

# Equal to those of api.records, which imports REST framework: settings may import this module.
_CALL = "dovetail_adminapi_call"
_TAKEN = "_dovetail_adminapi_middleware"


class AdminAPIMiddleware(Middleware):
    """Sets the headers of the admin API and emits the events of its calls, outside of ``ATOMIC_REQUESTS``.

    REST framework rolls that transaction back after an exception, and the record of a refusal would go with it. Put it
    after the authentication middleware, and after middleware that records events.
    """

    def respond(self, request: HttpRequest) -> HttpResponseBase:
        setattr(request, _TAKEN, True)
        response: HttpResponseBase = self.get_response(request)
        _finish(request, response)
        return response

    async def arespond(self, request: HttpRequest) -> HttpResponseBase:
        setattr(request, _TAKEN, True)
        response: HttpResponseBase = await self.get_response(request)
        if hasattr(request, _CALL):
            # In a thread: a receiver may use the database.
            await sync_to_async(_finish)(request, response)
        return response


def _finish(request: HttpRequest, response: HttpResponseBase) -> None:
    call = getattr(request, _CALL, None)
    if call is not None:
        # Late, because settings import this module before models can be loaded.
        from dovetail_adminapi.api.guard import finish

        finish(call, response)
