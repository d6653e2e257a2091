"""The middleware of this package. Each class is one line of ``MIDDLEWARE`` and works without the others.

Modules that import REST framework are imported late: it reads settings, and settings may import this module.
"""

from __future__ import annotations

from datetime import UTC
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from dovetail_contract.conf import action_of, conf
from dovetail_contract.correlation.callers import bound, remember_organization
from dovetail_contract.correlation.request_ids import HEADER, expose_headers, inbound
from dovetail_contract.events import emit_deprecated_operation_used
from dovetail_contract.lifecycle.dates import Lifecycle, earliest
from dovetail_contract.versioning import deprecation, versions
from dovetail_core import context
from dovetail_core.middleware import GetResponse, Middleware
from dovetail_core.models import uuid7

Response = HttpResponseBase

#: The attribute of a request that has an idempotency execution.
_EXECUTION = "_dovetail_idempotency"


class RequestIDMiddleware(Middleware):
    """Put it first, before ``SecurityMiddleware``, so that the response to a wrong host has an id too.

    The id is ``dovetail_core.context.request_id()``; the response carries it as ``X-Request-ID``.
    """

    def respond(self, request: HttpRequest) -> Response:
        with context.bind(request_id=self._identify(request)), bound(request=request):
            return self._marked(request, self.get_response(request))

    async def arespond(self, request: HttpRequest) -> Response:
        with context.bind(request_id=self._identify(request)), bound(request=request):
            return self._marked(request, await self.get_response(request))

    def process_template_response(self, request: HttpRequest, response: Response) -> Response:
        # The last moment at which the context has the organization: the middleware that set it resets it next.
        remember_organization(request)
        return response

    @staticmethod
    def _identify(request: HttpRequest) -> str:
        received = inbound(request)
        request_id = received.trusted or uuid7().hex
        request.request_id = request_id  # type: ignore[attr-defined]
        request.client_request_id = received.client  # type: ignore[attr-defined]
        return request_id

    @staticmethod
    def _marked(request: HttpRequest, response: Response) -> Response:
        response.headers[HEADER] = request.request_id  # type: ignore[attr-defined]
        expose_headers(response)
        return response


class ProblemMiddleware(Middleware):
    """Put it after ``RequestIDMiddleware``: it converts every error response to a problem.

    Only under ``CONTRACT_API_PATHS``; other paths keep their HTML.
    """

    def respond(self, request: HttpRequest) -> Response:
        return self._shaped(request, self.get_response(request))

    async def arespond(self, request: HttpRequest) -> Response:
        return self._shaped(request, await self.get_response(request))

    @staticmethod
    def _shaped(request: HttpRequest, response: Response) -> Response:
        if response.status_code < 400:
            return response
        from dovetail_contract.problems.conversion import converted

        if not request.path_info.startswith(tuple(conf.API_PATHS)):
            return response
        return converted(request, response)


class RateLimitMiddleware(Middleware):
    """Adds the headers of ``RateLimitThrottle``, and limits failed authentications and floods, which it does not see.

    Put it after ``ProblemMiddleware``, before middleware that answers requests itself.
    """

    def __init__(self, get_response: GetResponse) -> None:
        super().__init__(get_response)
        from dovetail_contract.throttling import failures

        self.before, self.after = failures.before, failures.after
        self.asks_before, self.asks_after = failures.asks_before, failures.asks_after

    def respond(self, request: HttpRequest) -> Response:
        if not request.path_info.startswith(tuple(conf.API_PATHS)):
            return cast("Response", self.get_response(request))
        return self.before(request) or self.after(request, self.get_response(request))

    async def arespond(self, request: HttpRequest) -> Response:
        if not request.path_info.startswith(tuple(conf.API_PATHS)):
            return cast("Response", await self.get_response(request))
        # In a thread if counts are read, which may be in Redis.
        refused = await sync_to_async(self.before)(request) if self.asks_before() else None
        if refused is not None:
            return refused
        response: Response = await self.get_response(request)
        if self.asks_after(response):
            return await sync_to_async(self.after)(request, response)
        return self.after(request, response)


class DeprecationMiddleware(Middleware):
    """Adds deprecation headers for versions, paths and views, and emits ``deprecated_operation.used``.

    Answers 410 for those that have ended, and 404 for a version that ``CONTRACT_VERSIONS`` does not name. Put it
    anywhere after ``ProblemMiddleware``.
    """

    def respond(self, request: HttpRequest) -> Response:
        response = self._marked(request, self._refusal(request) or self.get_response(request))
        if self._used_while_deprecated(request, response):
            emit_deprecated_operation_used(request)
        return response

    async def arespond(self, request: HttpRequest) -> Response:
        response = self._marked(request, self._refusal(request) or await self.get_response(request))
        if self._used_while_deprecated(request, response):
            # In a thread: a receiver may use the database.
            await sync_to_async(emit_deprecated_operation_used)(request)
        return response

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> Response | None:
        method = str(request.method)
        declared = deprecation.of_view(view, method, action_of(view, method))
        if declared is None:
            return None
        combined = earliest([request.lifecycle, declared])  # type: ignore[attr-defined]  # set by _refusal
        request.lifecycle = combined  # type: ignore[attr-defined]
        return self._gone(combined)

    def process_template_response(self, request: HttpRequest, response: Response) -> Response:
        remember_organization(request)
        return response

    def _refusal(self, request: HttpRequest) -> Response | None:
        """For versions and paths, before the URLconf: an operation that has ended may have no route any more."""
        applied = deprecation.of_path(request.path_info)
        request.lifecycle = applied  # type: ignore[attr-defined]
        return self._gone(applied) or (self._unknown(request.path_info) if conf.VERSIONS else None)

    @staticmethod
    def _gone(applied: Lifecycle | None) -> Response | None:
        if applied is None or not applied.is_over:
            return None
        from dovetail_contract.problems.builder import problem

        extensions = {"successor": applied.successor} if applied.successor else None
        return problem(410, "version_sunset", extensions=extensions)

    @staticmethod
    def _unknown(path: str) -> Response | None:
        from dovetail_contract.problems.builder import problem

        _, name = versions.named_in(path)
        known = versions.versions()
        if not name or name in known:
            return None
        served = [version.name for version in known.values() if version.status != "sunset"]
        detail = f"There is no version {name}; there is {', '.join(served) or 'none'}."
        return problem(404, "version_unknown", detail, extensions={"versions": served})

    @staticmethod
    def _marked(request: HttpRequest, response: Response) -> Response:
        applied = request.lifecycle  # type: ignore[attr-defined]
        if applied is not None:
            deprecation.add_headers(response, applied)
        return response

    @staticmethod
    def _used_while_deprecated(request: HttpRequest, response: Response) -> bool:
        applied = request.lifecycle  # type: ignore[attr-defined]
        # 410 is no use of the operation.
        return applied is not None and applied.has_begun and response.status_code != 410


class UTCMiddleware(Middleware):
    """Writes the times of the API in UTC, with ``Z``, whatever ``TIME_ZONE`` is. Other paths keep their time zone.

    Historical offsets of some zones have seconds, which RFC 3339 does not allow.
    """

    def respond(self, request: HttpRequest) -> Response:
        with timezone.override(self._zone(request)):
            return cast("Response", self.get_response(request))

    async def arespond(self, request: HttpRequest) -> Response:
        with timezone.override(self._zone(request)):
            return cast("Response", await self.get_response(request))

    @staticmethod
    def _zone(request: HttpRequest) -> Any:
        return UTC if request.path_info.startswith(tuple(conf.API_PATHS)) else timezone.get_current_timezone()


class IdempotencyMiddleware(Middleware):
    """Put it last: it calls the view itself, so that the claim of a key is committed before the view's transaction."""

    def __init__(self, get_response: GetResponse) -> None:
        super().__init__(get_response)
        from dovetail_contract.idempotency import execution

        self.begin = execution.begin
        _attach_executions()

    def respond(self, request: HttpRequest) -> Response:
        return cast("Response", self.get_response(request))

    async def arespond(self, request: HttpRequest) -> Response:
        return cast("Response", await self.get_response(request))

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> Response | None:
        # First the method: reads do not enter the idempotency code.
        if request.method not in conf.IDEMPOTENCY_METHODS:
            return None
        execution = self.begin(request, view)
        if execution is None:
            return None
        setattr(request, _EXECUTION, execution)
        return execution.run(view, args, kwargs)


def _attach_executions() -> None:
    """Let the view instance of a request with an idempotency key attach to the request's execution.

    A key is claimed after authentication, permissions and throttles, and before the view's handler. REST framework has
    no hook at that point that a view cannot override, so this wraps ``APIView.initialize_request``, once. The wrapper
    is here and not in the idempotency package, because every request to a view passes it.
    """
    from rest_framework.views import APIView

    original = APIView.initialize_request
    if getattr(original, _EXECUTION, False):
        return

    def initialize_request(view: APIView, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        execution = getattr(request, _EXECUTION, None)
        if execution is not None:
            execution.attach(view)
        return original(view, request, *args, **kwargs)

    setattr(initialize_request, _EXECUTION, True)
    APIView.initialize_request = initialize_request  # type: ignore[method-assign, assignment]
