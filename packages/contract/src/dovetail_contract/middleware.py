"""The parts that stand around views. Each is one line of ``MIDDLEWARE`` and works without the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from dovetail_contract.conf import conf
from dovetail_contract.correlation import HEADER, bound, exposed, inbound, remember
from dovetail_contract.declarations import action_of
from dovetail_core import context
from dovetail_core.fields import uuid7

Response = HttpResponseBase
GetResponse = Callable[[HttpRequest], Any]


class _Middleware:
    """Sync and async in one class: subclasses answer ``__call__`` by ``answer`` or ``aanswer``."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Response | Awaitable[Response]:
        return self.aanswer(request) if self.is_async else self.answer(request)

    def answer(self, request: HttpRequest) -> Response:
        raise NotImplementedError

    async def aanswer(self, request: HttpRequest) -> Response:
        raise NotImplementedError


class RequestIDMiddleware(_Middleware):
    """Put it first, before ``SecurityMiddleware``, so that even the answer to a wrong host has an id.

    The id of the unit of work is ``dovetail_core.context.request_id()``; the answer carries it as ``X-Request-ID``.
    """

    def answer(self, request: HttpRequest) -> Response:
        with context.bind(request_id=self._identify(request)), bound(request=request):
            return self._marked(request, self.get_response(request))

    async def aanswer(self, request: HttpRequest) -> Response:
        with context.bind(request_id=self._identify(request)), bound(request=request):
            return self._marked(request, await self.get_response(request))

    def process_template_response(self, request: HttpRequest, response: Response) -> Response:
        # The last moment at which the organization is known: what set it has not taken it back yet.
        remember(request)
        return response

    @staticmethod
    def _identify(request: HttpRequest) -> str:
        given = inbound(request)
        request_id = given.trusted or uuid7().hex
        request.request_id = request_id  # type: ignore[attr-defined]
        request.client_request_id = given.client  # type: ignore[attr-defined]
        return request_id

    @staticmethod
    def _marked(request: HttpRequest, response: Response) -> Response:
        response.headers[HEADER] = request.request_id  # type: ignore[attr-defined]
        exposed(response)
        return response


class ProblemMiddleware(_Middleware):
    """Put it after ``RequestIDMiddleware``: whatever goes wrong further in leaves as a problem.

    Only under ``CONTRACT_API_PATHS``; other paths keep their HTML.
    """

    def answer(self, request: HttpRequest) -> Response:
        return self._shaped(request, self.get_response(request))

    async def aanswer(self, request: HttpRequest) -> Response:
        return self._shaped(request, await self.get_response(request))

    @staticmethod
    def _shaped(request: HttpRequest, response: Response) -> Response:
        if response.status_code < 400:
            return response
        # Here, because DRF asks for settings when it is imported, and settings may import this module.
        from dovetail_contract.problems.conversion import converted

        if not request.path_info.startswith(tuple(conf.API_PATHS)):
            return response
        return converted(request, response)


class RateLimitMiddleware(_Middleware):
    """Writes the headers of ``RateLimitThrottle``, and limits what it never sees: failed authentications, floods.

    Put it after ``ProblemMiddleware``, before what answers requests by itself.
    """

    def __init__(self, get_response: GetResponse) -> None:
        super().__init__(get_response)
        from dovetail_contract.ratelimit import failures  # late, as in ProblemMiddleware

        self.before, self.after = failures.before, failures.after
        self.asks_before, self.asks_after = failures.asks_before, failures.asks_after

    def answer(self, request: HttpRequest) -> Response:
        if not request.path_info.startswith(tuple(conf.API_PATHS)):
            return cast("Response", self.get_response(request))
        return self.before(request) or self.after(request, self.get_response(request))

    async def aanswer(self, request: HttpRequest) -> Response:
        if not request.path_info.startswith(tuple(conf.API_PATHS)):
            return cast("Response", await self.get_response(request))
        # In a thread where counts are asked for, which may be in Redis.
        refused = await sync_to_async(self.before)(request) if self.asks_before() else None
        if refused is not None:
            return refused
        response: Response = await self.get_response(request)
        if self.asks_after(response):
            return await sync_to_async(self.after)(request, response)
        return self.after(request, response)


class DeprecationMiddleware(_Middleware):
    """Tells of versions, paths and views that will go, answers 410 for those that are gone, and 404 for a version that
    ``CONTRACT_VERSIONS`` does not know. Anywhere after the problems.
    """

    def __init__(self, get_response: GetResponse) -> None:
        super().__init__(get_response)
        from dovetail_contract import deprecation, usage  # late, as in ProblemMiddleware

        self._deprecation, self._usage = deprecation, usage

    def answer(self, request: HttpRequest) -> Response:
        response = self._marked(request, self._refusal(request) or self.get_response(request))
        if self._is_to_be_told(request, response):
            self._usage.hand_on()
        return response

    async def aanswer(self, request: HttpRequest) -> Response:
        response = self._marked(request, self._refusal(request) or await self.get_response(request))
        if self._is_to_be_told(request, response):
            # In a thread: counts may go into a database.
            await sync_to_async(self._usage.hand_on)()
        return response

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> Response | None:
        method = str(request.method)
        own = self._deprecation.of_view(view, method, action_of(view, method))
        if own is None:
            return None
        found = self._deprecation.earliest([request.lifecycle, own])  # type: ignore[attr-defined]  # set by _refusal
        request.lifecycle = found  # type: ignore[attr-defined]
        return self._gone(found)

    def process_template_response(self, request: HttpRequest, response: Response) -> Response:
        remember(request)
        return response

    def _refusal(self, request: HttpRequest) -> Response | None:
        """For versions and paths, before anything else: what is over may have no route any more."""
        found = self._deprecation.of_path(request.path_info)
        request.lifecycle = found  # type: ignore[attr-defined]
        return self._gone(found) or (self._unknown(request.path_info) if conf.VERSIONS else None)

    @staticmethod
    def _gone(found: Any) -> Response | None:
        if found is None or not found.is_over:
            return None
        from dovetail_contract.problems.builder import problem

        return problem(410, "version_sunset", extensions={"successor": found.successor} if found.successor else None)

    @staticmethod
    def _unknown(path: str) -> Response | None:
        from dovetail_contract import versions
        from dovetail_contract.problems.builder import problem

        _, name = versions.named_in(path)
        known = versions.versions()
        if not name or name in known:
            return None
        served = [each.name for each in known.values() if each.status != "sunset"]
        detail = f"There is no version {name}; there is {', '.join(served) or 'none'}."
        return problem(404, "version_unknown", detail, extensions={"versions": served})

    def _marked(self, request: HttpRequest, response: Response) -> Response:
        found = request.lifecycle  # type: ignore[attr-defined]
        if found is not None:
            self._deprecation.mark(response, found)
        return response

    def _is_to_be_told(self, request: HttpRequest, response: Response) -> bool:
        found = request.lifecycle  # type: ignore[attr-defined]
        # Of what is gone nobody makes use.
        return found is not None and found.has_begun and response.status_code != 410 and self._usage.count(request)


class UTCMiddleware(_Middleware):
    """Times of the API are in UTC, written with ``Z``, whatever ``TIME_ZONE`` says. Other paths keep theirs.

    Zones of long ago have offsets with seconds in them, which RFC 3339 does not know.
    """

    def answer(self, request: HttpRequest) -> Response:
        with timezone.override(self._zone(request)):
            return cast("Response", self.get_response(request))

    async def aanswer(self, request: HttpRequest) -> Response:
        with timezone.override(self._zone(request)):
            return cast("Response", await self.get_response(request))

    @staticmethod
    def _zone(request: HttpRequest) -> Any:
        return UTC if request.path_info.startswith(tuple(conf.API_PATHS)) else timezone.get_current_timezone()


class IdempotencyMiddleware(_Middleware):
    """Put it last: it calls the view itself, so that the claim of a key is committed before the view's transaction."""

    def __init__(self, get_response: GetResponse) -> None:
        super().__init__(get_response)
        from dovetail_contract.idempotency import execution  # late, as in ProblemMiddleware

        self.begin = execution.begin
        execution.install()

    def answer(self, request: HttpRequest) -> Response:
        return cast("Response", self.get_response(request))

    async def aanswer(self, request: HttpRequest) -> Response:
        return cast("Response", await self.get_response(request))

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> Response | None:
        execution = self.begin(request, view)
        return None if execution is None else execution.run(view, args, kwargs)
