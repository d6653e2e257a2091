"""The guard: the first base class of each view of the include, which refuses what is not permitted.

The include puts it on, so a view cannot forget it. REST framework's own ways past class-level permission checks
(``@action(permission_classes=…)``, ``get_permissions()``, an overridden ``initial()`` or ``dispatch()``) do not lead
past it: it decides before any code of the view runs, and the wrapped handler refuses again if it has not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, ClassVar, Final

from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.db import DEFAULT_DB_ALIAS, connections, router, transaction
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import (
    APIException,
    MethodNotAllowed,
    NotAuthenticated,
    NotFound,
    PermissionDenied,
    UnsupportedMediaType,
)
from rest_framework.parsers import BaseParser, JSONParser
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.throttling import BaseThrottle, ScopedRateThrottle
from rest_framework.views import APIView
from rest_framework.views import exception_handler as rest_handler

from dovetail_adminapi.api import operations, origin, problems, refusals, stepup
from dovetail_adminapi.api.headers import harden
from dovetail_adminapi.api.operations import Operation
from dovetail_adminapi.api.records import CALL, TAKEN, Call
from dovetail_adminapi.conf import conf
from dovetail_adminapi.permissions.claims import claims_of
from dovetail_adminapi.permissions.sources import Grants

THROTTLE_SCOPE: Final = "admin"


class AdminThrottle(ScopedRateThrottle):
    @property
    def THROTTLE_RATES(self) -> Any:  # type: ignore[override]  # noqa: N802  # REST framework's name; read live, like every setting
        return api_settings.DEFAULT_THROTTLE_RATES


class AdminGuard(APIView):
    """Order of a call: place, site, authentication, person, permission, recent sign-in, throttle, body, handler."""

    #: By method. Set on the subclass of each route.
    admin_operations: ClassVar[Mapping[str, Operation]] = {}
    admin_section: ClassVar[str] = ""
    admin_policy: ClassVar[str | None] = None
    throttle_scope = THROTTLE_SCOPE
    # The path names the version, and OPTIONS would describe the fields.
    versioning_class = None
    metadata_class = None

    _rest_request: Request | None = None
    _is_admitted = False

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        operation = self._operation(request)
        call = Call(request, operation, operation.name if operation else self._fallback_name(request))
        call.policy = self.admin_policy
        setattr(request, CALL, call)
        try:
            response = self._dispatch(request, call, args, kwargs)
        except Exception as error:
            # Django makes the response. The middleware records it with its status.
            call.problem = type(error).__name__
            raise
        if not getattr(request, TAKEN, False):
            # Without the middleware, a rolled back transaction takes the record of a refusal with it (W001).
            finish(call, response)
        return response

    def _dispatch(self, request: HttpRequest, call: Call, args: Any, kwargs: Any) -> HttpResponseBase:
        self.args, self.kwargs = args, kwargs
        self.headers = self.default_response_headers
        self.request = request  # type: ignore[assignment]  # as View.setup() does, until it is initialized
        self._guard_handler(request, call)
        # Once: the second call, by REST framework's dispatch(), returns the same.
        self.request = self._rest_request = call.rest_request = self.initialize_request(request, *args, **kwargs)
        try:
            self.admit(self.request, call)
        except Exception as error:  # noqa: BLE001  # handle_exception() raises what is no refusal
            call.problem = _code_of(error)
            if call.denied:
                # It lists the methods of the path.
                self.headers.pop("Allow", None)
            # Not the view's own handle_exception(), which may answer as it likes.
            response = APIView.handle_exception(self, error)
            self.response = self.finalize_response(self.request, response, *args, **kwargs)
            return self.response
        with self._context(self.request):
            return super().dispatch(request, *args, **kwargs)

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        return self._rest_request or super().initialize_request(request, *args, **kwargs)

    def admit(self, request: Request, call: Call) -> None:
        """Raise the refusal of a call that is not permitted."""
        origin.require_place(request._request)
        origin.require_same_site(request._request)
        grants = self._authenticate(request, call)
        operation = call.operation
        call.via = self._via(grants, operation, request)
        if call.via is None:
            raise self._denied(grants, operation)
        if operation is not None and operation.reauthenticate:
            stepup.require_recent_sign_in(request)
        call.denied = False
        if operation is None:
            raise MethodNotAllowed(str(request.method))
        _require_json(request)
        request.user = grants.principal()
        self._is_admitted = True

    def _authenticate(self, request: Request, call: Call) -> Grants:
        try:
            user = request.user
        except (PermissionDenied, DjangoPermissionDenied) as error:
            is_csrf = request.method not in SAFE_METHODS and origin.fails_csrf(request._request)
            raise (refusals.CSRFFailed() if is_csrf else error) from None
        # UNAUTHENTICATED_USER may be None.
        if not getattr(user, "is_authenticated", False):
            raise NotAuthenticated
        call.actor = user
        origin.require_one_person(request)
        origin.require_csrf_token(request)
        if getattr(user, "is_active", True) is False:
            raise refusals.InactiveUser
        if claims_of(request.auth).get("act") is not None:
            raise refusals.ImpersonationNotAdmitted
        grants = Grants(user, request.auth, self.admin_section)
        if grants.is_machine and not grants.has_scope:
            raise refusals.MachinesNotAdmitted
        return grants

    def _via(self, grants: Grants, operation: Operation | None, request: Request) -> str | None:
        if operation is None:
            # Only who may call this path learns its methods.
            required = [item.permission for item in self.admin_operations.values()]
        else:
            required = [operation.permission]
        if operations.ANY in required:
            return _via_any(grants, operations.permissions(getattr(request._request, "urlconf", None)))
        return _via_any(grants, [permission for permission in required if permission is not None])

    def _denied(self, grants: Grants, operation: Operation | None) -> APIException:
        if grants.roles.expired:
            return refusals.TokenTooOld()
        is_staff = getattr(grants.user, "is_staff", False) is True
        permission = operation.permission if operation is not None and operation.permission != operations.ANY else None
        return refusals.Denied(permission if is_staff else None)

    def _operation(self, request: HttpRequest) -> Operation | None:
        method = str(request.method)
        return self.admin_operations.get("GET" if method == "HEAD" else method)

    def _fallback_name(self, request: HttpRequest) -> str:
        base = next((item.name.rpartition(".")[0] for item in self.admin_operations.values()), type(self).__name__)
        return f"{base}.{str(request.method).lower()[:20]}"

    def _guard_handler(self, request: HttpRequest, call: Call) -> None:
        # Before initialize_request(): middleware for idempotency keys wraps the handler there, and claims a key outside
        # of the transaction of the change.
        method = str(request.method).lower()
        handler = getattr(self, method, None) if method in self.http_method_names else None
        if handler is not None:
            setattr(self, method, partial(self._handle, handler, call))

    def _handle(self, handler: Callable[..., Any], call: Call, request: Request, *args: Any, **kwargs: Any) -> Any:
        if not self._is_admitted:
            raise PermissionDenied
        timeout = conf.STATEMENT_TIMEOUT_MS
        is_read = request.method in SAFE_METHODS
        using = self._database()
        if is_read and timeout is None:
            return handler(request, *args, **kwargs)
        with transaction.atomic(using=using):
            if timeout is not None and connections[using].vendor == "postgresql":
                with connections[using].cursor() as cursor:
                    cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(timeout)])
            response = handler(request, *args, **kwargs)
            if not is_read and response.status_code < 400:
                call.succeed(response.status_code, using=using)
        return response

    def _database(self) -> str:
        model = getattr(getattr(self, "queryset", None), "model", None)
        return DEFAULT_DB_ALIAS if model is None else router.db_for_write(model)

    def _context(self, request: Request) -> AbstractContextManager[object]:
        context = conf.CONTEXT
        return nullcontext() if context is None else context(request)

    def check_permissions(self, request: Request) -> None:
        """The guard has decided. Classes of the view would refuse roles of tokens, which only the guard knows."""
        if not self._is_admitted:
            raise PermissionDenied

    def check_object_permissions(self, request: Request, obj: object) -> None:
        """Rules of the view about single objects still apply."""
        for permission in super().get_permissions():
            if not permission.has_object_permission(request, self, obj):
                self.permission_denied(request, getattr(permission, "message", None), getattr(permission, "code", None))

    def get_permissions(self) -> list[BasePermission]:
        return []

    def get_authenticators(self) -> list[BaseAuthentication]:
        return [authentication() for authentication in self.authentication_classes]

    def get_throttles(self) -> list[BaseThrottle]:
        return [AdminThrottle()] if conf.THROTTLE else []

    def get_parsers(self) -> list[BaseParser]:
        return [parser for parser in super().get_parsers() if is_json(parser.media_type)] or [JSONParser()]

    def get_renderers(self) -> list[BaseRenderer]:
        # Pages with forms need what the content security policy forbids.
        renderers = [item for item in super().get_renderers() if not isinstance(item, BrowsableAPIRenderer)]
        return renderers or [JSONRenderer()]

    def get_authenticate_header(self, request: Request) -> str:
        # REST framework answers 403 in place of 401 without a challenge, as with SessionAuthentication.
        return super().get_authenticate_header(request) or 'Session realm="admin"'

    def get_exception_handler(self) -> Any:
        handler = super().get_exception_handler()
        return problems.exception_handler if handler is rest_handler else handler

    def handle_exception(self, exc: Exception) -> Response:
        response = super().handle_exception(exc)
        call: Call = getattr(self.request._request, CALL)
        call.problem = call.problem or _code_of(exc)
        return response


def _via_any(grants: Grants, permissions: Any) -> str | None:
    return next((via for permission in permissions if (via := grants.via(permission)) is not None), None)


def is_json(media_type: str | None) -> bool:
    name = (media_type or "").partition(";")[0].strip().lower()
    return name == "application/json" or (name.startswith("application/") and name.endswith("+json"))


def _require_json(request: Request) -> None:
    """Raise 415 for a body of another type. Pages of other sites can send forms and text without asking (CORS)."""
    media_type = request.META.get("CONTENT_TYPE")
    if request.method not in SAFE_METHODS and media_type and not is_json(media_type):
        raise UnsupportedMediaType(media_type)


def _code_of(exc: Exception) -> str:
    # As REST framework answers to exceptions of Django.
    if isinstance(exc, Http404):
        return NotFound.default_code
    if isinstance(exc, DjangoPermissionDenied):
        return PermissionDenied.default_code
    detail = getattr(exc, "detail", None)
    code = getattr(detail, "code", None) or getattr(exc, "default_code", None) or getattr(exc, "code", None)
    return code if isinstance(code, str) else type(exc).__name__


def finish(call: Call, response: HttpResponseBase) -> None:
    """Set the headers of a response and emit the event of its call."""
    harden(response, call.policy if response.status_code < 400 else None)
    call.end(response)
