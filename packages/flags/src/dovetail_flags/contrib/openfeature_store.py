"""The flags of ``dovetail_flags`` for code that uses OpenFeature's SDK. Requires the extra ``openfeature``::

    from openfeature import api
    from dovetail_flags.contrib.openfeature_store import DovetailProvider, RequestContext

    api.set_provider_and_wait(DovetailProvider())
    api.set_transaction_context_propagator(RequestContext())

Call both in ``AppConfig.ready()``, and add ``dovetail_flags.contrib.openfeature_store.OpenFeatureMiddleware`` to
``MIDDLEWARE`` after the authentication. ``api.get_client().get_boolean_value("new-checkout", False)`` then returns what
``flags.enabled("new-checkout", request)`` returns. The SDK reads the context in the event loop, so async views first
``await request.flags.aload()``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider import AbstractProvider, Metadata
from openfeature.transaction_context import TransactionContextPropagator

from dovetail_core.middleware import Middleware
from dovetail_flags.evaluation.facade import flags

_EMPTY: Final = EvaluationContext()
_request: ContextVar[HttpRequest | None] = ContextVar("dovetail_flags_request", default=None)


class DovetailProvider(AbstractProvider):
    """Evaluates the flags of ``FLAGS_PROVIDER``, by default those in the database. It starts no thread."""

    def get_metadata(self) -> Metadata:
        return Metadata(name="dovetail-flags")

    def __init__(self) -> None:
        super().__init__()
        self._token: str | None = None

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        self._token = flags.token()

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        return self._resolve(flag_key, default_value, evaluation_context, _is_boolean)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        return self._resolve(flag_key, default_value, evaluation_context, _is_string)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        return self._resolve(flag_key, default_value, evaluation_context, _is_integer)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        return self._resolve(flag_key, default_value, evaluation_context, _is_number)

    def resolve_object_details(
        self, flag_key: str, default_value: Any, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[Any]:
        return self._resolve(flag_key, default_value, evaluation_context, _is_object)

    async def resolve_boolean_details_async(self, *args: Any, **kwargs: Any) -> FlagResolutionDetails[bool]:
        await flags.arefresh()
        return self.resolve_boolean_details(*args, **kwargs)

    async def resolve_string_details_async(self, *args: Any, **kwargs: Any) -> FlagResolutionDetails[str]:
        await flags.arefresh()
        return self.resolve_string_details(*args, **kwargs)

    async def resolve_integer_details_async(self, *args: Any, **kwargs: Any) -> FlagResolutionDetails[int]:
        await flags.arefresh()
        return self.resolve_integer_details(*args, **kwargs)

    async def resolve_float_details_async(self, *args: Any, **kwargs: Any) -> FlagResolutionDetails[float]:
        await flags.arefresh()
        return self.resolve_float_details(*args, **kwargs)

    async def resolve_object_details_async(self, *args: Any, **kwargs: Any) -> FlagResolutionDetails[Any]:
        await flags.arefresh()
        return self.resolve_object_details(*args, **kwargs)

    def _resolve(
        self, key: str, default: Any, context: EvaluationContext | None, matches: Callable[[object], bool]
    ) -> FlagResolutionDetails[Any]:
        if context is None or (context.targeting_key is None and not context.attributes):
            details = flags.details(key, default=default)
        else:
            details = flags.details(
                key, default=default, targeting_key=context.targeting_key, attributes=context.attributes
            )
        # No thread reads the flags: this evaluation may have done so.
        if (token := flags.token()) != self._token:
            self._token = token
            self.emit_provider_configuration_changed(ProviderEventDetails())
        if details.error is not None:
            return FlagResolutionDetails(default, ErrorCode(str(details.error)), details.message, str(details.reason))
        if not matches(details.value):
            return FlagResolutionDetails(default, ErrorCode.TYPE_MISMATCH, "The flag has another type.", "ERROR")
        return FlagResolutionDetails(details.value, reason=str(details.reason), variant=details.variant)


class OpenFeatureMiddleware(Middleware):
    """Makes the request known to :class:`RequestContext`."""

    def respond(self, request: HttpRequest) -> HttpResponseBase:
        # Set back and not reset: under ASGI, the middleware may end in another context.
        previous = _request.get()
        _request.set(request)
        try:
            return self.get_response(request)  # type: ignore[no-any-return]  # sync or async, so Any
        finally:
            _request.set(previous)

    async def arespond(self, request: HttpRequest) -> HttpResponseBase:
        # Set back and not reset: under ASGI, the middleware may end in another context.
        previous = _request.get()
        _request.set(request)
        try:
            return await self.get_response(request)  # type: ignore[no-any-return]  # sync or async, so Any
        finally:
            _request.set(previous)


class RequestContext(TransactionContextPropagator):
    """Gives OpenFeature's evaluations the context of ``FLAGS_CONTEXT``, which each request computes once.

    Outside of requests, it is that of ``dovetail_core.context``, such as the organization of a task. The SDK merges it
    with what the call passes, which takes precedence: do not pass what a client has sent.
    """

    def get_transaction_context(self) -> EvaluationContext:
        context = flags.context(_request.get())
        return EvaluationContext(context.targeting_key, dict(context.attributes))

    def set_transaction_context(self, transaction_context: EvaluationContext) -> None:
        raise TypeError("The transaction context comes from FLAGS_CONTEXT. Pass other attributes to the evaluation.")


def _is_boolean(value: object) -> bool:
    return isinstance(value, bool)


def _is_string(value: object) -> bool:
    return isinstance(value, str)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_object(value: object) -> bool:
    return isinstance(value, dict | list)
