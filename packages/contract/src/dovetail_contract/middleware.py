"""The middleware of this package. Each class is one entry in ``MIDDLEWARE`` and works without the others.

Modules that import REST framework are imported late: it reads settings, and settings may import this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _

from dovetail_contract import versioning
from dovetail_contract.conf import action_of, conf, is_api, names_api_paths
from dovetail_contract.correlation import HEADER, bind_caller, expose_headers, received_id, remember_organization
from dovetail_contract.events import emit_deprecated_operation_used
from dovetail_contract.lifecycle import Lifecycle, earliest
from dovetail_core import context
from dovetail_core.conf import cached_until_settings_change
from dovetail_core.inspection import classes_of
from dovetail_core.middleware import GetResponse, Middleware
from dovetail_core.models import uuid7

Response = HttpResponseBase
View = Callable[..., HttpResponseBase]

#: The attribute of a request that holds its idempotency execution.
_EXECUTION = "_dovetail_idempotency"
#: The attribute of a request that holds the headers on which the response of its view depends.
_VARY = "_dovetail_vary"


class RequestIDMiddleware(Middleware):
    """Gives every request an id: ``dovetail_core.context.request_id()``, and ``X-Request-ID`` on the response.

    Put it first, before ``SecurityMiddleware``, so that responses to a wrong host have an id too.
    """

    def respond(self, request: HttpRequest) -> Response:
        with context.bind(request_id=self._identify(request)), bind_caller(request=request):
            return self._mark(request, self.get_response(request))

    async def arespond(self, request: HttpRequest) -> Response:
        with context.bind(request_id=self._identify(request)), bind_caller(request=request):
            return self._mark(request, await self.get_response(request))

    def process_template_response(self, request: HttpRequest, response: Response) -> Response:
        # The context still has the organization here: the middleware that set it resets it next.
        remember_organization(request)
        return response

    @staticmethod
    def _identify(request: HttpRequest) -> str:
        trusted, untrusted = received_id(request)
        request_id = trusted or uuid7().hex
        request.request_id = request_id  # type: ignore[attr-defined]
        request.client_request_id = untrusted  # type: ignore[attr-defined]
        return request_id

    @staticmethod
    def _mark(request: HttpRequest, response: Response) -> Response:
        response.headers[HEADER] = request.request_id  # type: ignore[attr-defined]
        expose_headers(response)
        return response


class CacheControlMiddleware(Middleware):
    """Adds ``Cache-Control`` to every response of the API that has none, and the headers of credentials to ``Vary``.

    Without it, a browser or a proxy may store the data of one user and show it to another, and a browser shows it after
    sign-out (OWASP ASVS 5.0 14.2). A view that sets its own ``Cache-Control`` keeps it. Put it after
    ``RequestIDMiddleware``.
    """

    def respond(self, request: HttpRequest) -> Response:
        return self._mark(request, self.get_response(request))

    async def arespond(self, request: HttpRequest) -> Response:
        return self._mark(request, await self.get_response(request))

    def process_view(
        self, request: HttpRequest, view: View, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Response | None:
        setattr(request, _VARY, _credential_headers(classes_of(view, "authentication_classes")))
        return None

    @staticmethod
    def _mark(request: HttpRequest, response: Response) -> Response:
        if not is_api(request):
            return response
        response.headers.setdefault("Cache-Control", conf.CACHE_CONTROL)
        if names := getattr(request, _VARY, ()):
            patch_vary_headers(response, names)
        return response


@cached_until_settings_change
def _credential_headers(classes: tuple[Any, ...]) -> list[str]:
    """Return the headers that a view's authentication classes read.

    A class that reads another header than ``Authorization`` has a class method ``get_vary_headers()``.
    """
    from rest_framework.authentication import SessionAuthentication

    names: dict[str, None] = {}
    for authentication in classes:
        declared = getattr(authentication, "get_vary_headers", None)
        if declared is not None:
            names |= dict.fromkeys(declared())
        else:
            by_cookie = isinstance(authentication, type) and issubclass(authentication, SessionAuthentication)
            names["Cookie" if by_cookie else "Authorization"] = None
    return [*names]


class ProblemMiddleware(Middleware):
    """Converts every error response below ``CONTRACT_API_PATHS`` to a problem. Other paths keep their HTML.

    If the project does not set ``CONTRACT_API_PATHS``, other libraries may serve clients of their own below ``/api/``.
    Responses of views without REST framework then stay as they are, and so does JSON of other middleware.

    Put it after ``RequestIDMiddleware``.
    """

    def respond(self, request: HttpRequest) -> Response:
        return self._convert(request, self.get_response(request))

    async def arespond(self, request: HttpRequest) -> Response:
        return self._convert(request, await self.get_response(request))

    @staticmethod
    def _convert(request: HttpRequest, response: Response) -> Response:
        if response.status_code < 400 or not is_api(request):
            return response
        from dovetail_contract.problems.conversion import convert, is_convertible

        return convert(request, response) if names_api_paths() or is_convertible(request, response) else response


class RateLimitMiddleware(Middleware):
    """Adds the headers of ``RateLimitThrottle``, and limits failed authentications and floods, which throttles miss.

    Put it after ``ProblemMiddleware``, before middleware that responds without calling the view.
    """

    def __init__(self, get_response: GetResponse) -> None:
        super().__init__(get_response)
        from dovetail_contract.throttling import failures

        self.failures = failures

    def respond(self, request: HttpRequest) -> Response:
        if not is_api(request):
            return cast("Response", self.get_response(request))
        refusal = self.failures.check_request(request)
        return refusal or self.failures.check_response(request, self.get_response(request))

    async def arespond(self, request: HttpRequest) -> Response:
        if not is_api(request):
            return cast("Response", await self.get_response(request))
        # Reading counts needs a thread, because they may be in Redis.
        if self.failures.request_needs_store():
            refusal = await sync_to_async(self.failures.check_request)(request)
            if refusal is not None:
                return refusal
        response: Response = await self.get_response(request)
        if self.failures.response_needs_store(request, response):
            return await sync_to_async(self.failures.check_response)(request, response)
        return self.failures.check_response(request, response)


class DeprecationMiddleware(Middleware):
    """Adds deprecation headers for versions, paths and views, and emits ``deprecated_operation.used``.

    Answers 410 after the sunset of an operation, and 404 for a version that ``CONTRACT_VERSIONS`` does not name. Put it
    anywhere after ``ProblemMiddleware``.
    """

    def respond(self, request: HttpRequest) -> Response:
        response = self._mark(request, self._refusal(request) or self.get_response(request))
        if self._is_deprecated_use(request, response):
            emit_deprecated_operation_used(request)
        return response

    async def arespond(self, request: HttpRequest) -> Response:
        response = self._mark(request, self._refusal(request) or await self.get_response(request))
        if self._is_deprecated_use(request, response):
            # In a thread: a receiver may use the database.
            await sync_to_async(emit_deprecated_operation_used)(request)
        return response

    def process_view(
        self, request: HttpRequest, view: View, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Response | None:
        method = str(request.method)
        declared = versioning.view_lifecycle(view, method, action_of(view, method))
        if declared is None:
            return None
        combined = earliest([request.lifecycle, declared])  # type: ignore[attr-defined]  # set by _refusal
        request.lifecycle = combined  # type: ignore[attr-defined]
        return self._gone(combined)

    def process_template_response(self, request: HttpRequest, response: Response) -> Response:
        remember_organization(request)
        return response

    def _refusal(self, request: HttpRequest) -> Response | None:
        # Before the URLconf: an operation past its sunset may no longer have a route.
        lifecycle = versioning.path_lifecycle(request.path_info)
        request.lifecycle = lifecycle  # type: ignore[attr-defined]
        gone = self._gone(lifecycle)
        if gone is not None or not conf.VERSIONS:
            return gone
        _base, name = versioning.find_version(request.path_info)
        known = versioning.versions()
        if not name or name in known:
            return None
        from dovetail_contract.problems.builder import problem

        served = [version.name for version in known.values() if version.status != "sunset"]
        detail = _("Version %(version)s does not exist. Available versions: %(versions)s.")
        detail %= {"version": name, "versions": ", ".join(served) or "–"}
        return problem(404, "version_unknown", detail, extensions={"versions": served})

    @staticmethod
    def _gone(lifecycle: Lifecycle | None) -> Response | None:
        if lifecycle is None or not lifecycle.is_over:
            return None
        from dovetail_contract.problems.builder import problem

        extensions = {"successor": lifecycle.successor} if lifecycle.successor else None
        return problem(410, "version_sunset", extensions=extensions)

    @staticmethod
    def _mark(request: HttpRequest, response: Response) -> Response:
        lifecycle = request.lifecycle  # type: ignore[attr-defined]
        for name, value in lifecycle.headers().items() if lifecycle is not None else ():
            present = response.headers.get(name) if name == "Link" else None
            response.headers[name] = value if present is None else f"{present}, {value}"
        return response

    @staticmethod
    def _is_deprecated_use(request: HttpRequest, response: Response) -> bool:
        lifecycle = request.lifecycle  # type: ignore[attr-defined]
        # A request that got 410 did not use the operation.
        return lifecycle is not None and lifecycle.has_begun and response.status_code != 410


class UTCMiddleware(Middleware):
    """Writes the times of the API in UTC, with ``Z``, whatever ``TIME_ZONE`` is. Other paths keep their time zone.

    Historical offsets of some zones have seconds, which RFC 3339 does not allow.
    """

    def respond(self, request: HttpRequest) -> Response:
        with self._zone(request):
            return cast("Response", self.get_response(request))

    async def arespond(self, request: HttpRequest) -> Response:
        with self._zone(request):
            return cast("Response", await self.get_response(request))

    @staticmethod
    def _zone(request: HttpRequest) -> timezone.override:
        return timezone.override(UTC if is_api(request) else timezone.get_current_timezone())


class IdempotencyMiddleware(Middleware):
    """Handles ``Idempotency-Key``. Put it last: it calls the view itself, so that a key is claimed outside of the
    transaction of ``ATOMIC_REQUESTS``.
    """

    def __init__(self, get_response: GetResponse) -> None:
        super().__init__(get_response)
        from dovetail_contract.idempotency import execution

        self.begin = execution.begin
        _attach_executions()

    def respond(self, request: HttpRequest) -> Response:
        return cast("Response", self.get_response(request))

    async def arespond(self, request: HttpRequest) -> Response:
        return cast("Response", await self.get_response(request))

    def process_view(
        self, request: HttpRequest, view: View, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Response | None:
        # Check the method first: reads must not enter the idempotency code.
        if request.method not in conf.IDEMPOTENCY_METHODS:
            return None
        execution = self.begin(request, view)
        if execution is None:
            return None
        setattr(request, _EXECUTION, execution)
        return execution.run(view, args, kwargs)


def _attach_executions() -> None:
    """Attach view instances to the idempotency execution of their request.

    A key is claimed after authentication, permissions and throttles, and before the view's handler. REST framework has
    no hook at that point that a view cannot override, so this wraps ``APIView.initialize_request``, once. The wrapper
    is here and not in the idempotency package, because every request to a view passes through it.
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
