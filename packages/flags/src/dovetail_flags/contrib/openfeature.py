"""Flags of any OpenFeature provider, for code that uses ``dovetail_flags``. Requires the extra ``openfeature``.

For the other direction, code that uses OpenFeature's SDK, see ``dovetail_flags.contrib.openfeature_store``::

    FLAGS_PROVIDER = "dovetail_flags.contrib.openfeature.provider"
    FLAGS_PROVIDER_OPTIONS = {"provider": "example.flags.make_provider"}
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from django.utils import timezone
from django.utils.module_loading import import_string
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.exception import OpenFeatureError
from openfeature.provider import FeatureProvider

from dovetail_flags.evaluation.declared import declared_flags
from dovetail_flags.providers.base import Provider
from dovetail_flags.types.context import Context
from dovetail_flags.types.details import Details, ErrorCode, Health, Reason, failure, own_value
from dovetail_flags.types.kinds import PYTHON_TYPES

logger = logging.getLogger("dovetail.flags")

#: Seconds that the first evaluations of a process wait for the provider. Later ones return defaults until it is ready.
START_SECONDS: Final = 5.0
#: Seconds until a provider that could not be started is started again.
RETRY_SECONDS: Final = 30.0
#: Seconds between two log records of failing evaluations.
LOG_SECONDS: Final = 60.0
#: The targeting key of requests without a person and an organization. LaunchDarkly requires one.
ANONYMOUS: Final = "anonymous"

_REASONS: Final = {str(reason): reason for reason in Reason}
_ERRORS: Final = {str(code): code for code in ErrorCode}


def provider(*, provider: Any, **options: Any) -> OpenFeatureBridge:
    """Return the provider for ``FLAGS_PROVIDER``.

    ``provider`` is a class or a function that returns an OpenFeature provider, or its dotted path. It is called with
    ``options`` at the first evaluation of each process, because a thread that it starts does not survive a fork.
    """
    create = import_string(provider) if isinstance(provider, str) else provider
    return OpenFeatureBridge(lambda: create(**options))


class OpenFeatureBridge(Provider):
    """Evaluates flags by an OpenFeature provider, called directly.

    The SDK's client is not used: it adds 18 µs to an evaluation, and logs a traceback for each one that fails.
    OpenFeature cannot list flags, so ``keys()`` are the declared ones.
    """

    def __init__(self, create: Callable[[], FeatureProvider], reasons: Mapping[str, Reason] | None = None) -> None:
        self._create = create
        # The names that the provider uses beside those of OpenFeature.
        self._reasons = {**_REASONS, **(reasons or {})}
        self._provider: FeatureProvider | None = None
        self._closed = False
        self._name = "OpenFeature"
        self._lock = threading.Lock()
        self._settled = threading.Event()
        self._next_start = 0.0
        self._next_log = 0.0
        self._ready_at: datetime | None = None
        self._stale_since: datetime | None = None
        self._error = ""

    def details(self, key: str, default: Any, context: Context) -> Details:
        provider = self._provider or self._start()
        if provider is None:
            return failure(default, ErrorCode.PROVIDER_NOT_READY, "The provider of flags is not ready.")
        kind, resolve = _resolver(provider, default)
        attributes = dict(_attributes(context.attributes))
        try:
            resolution = resolve(
                flag_key=key,
                default_value=default,
                evaluation_context=EvaluationContext(context.targeting_key or ANONYMOUS, attributes),
            )
        except OpenFeatureError as error:
            return failure(default, _error_code(error.error_code), error.error_message or "")
        except Exception as error:  # noqa: BLE001  # a provider may raise anything, and an evaluation never raises
            self._log(key, error)
            return failure(default, ErrorCode.GENERAL, f"{type(error).__name__}: {error}")
        if resolution.error_code is not None:
            return failure(default, _error_code(resolution.error_code), resolution.error_message or "")
        if type(resolution.value) not in PYTHON_TYPES[kind]:
            return failure(default, ErrorCode.TYPE_MISMATCH, f"The provider returned {resolution.value!r:.80}.")
        value = float(resolution.value) if kind == "number" else own_value(resolution.value)
        return Details(value, resolution.variant or "", self._reasons.get(str(resolution.reason), Reason.UNKNOWN))

    def keys(self, *, client_visible: bool = False) -> Iterable[str]:
        return [key for key, flag in declared_flags().items() if flag.client_visible or not client_visible]

    def health(self) -> Health:
        healthy = self._provider is not None and self._stale_since is None
        return Health(self._name, healthy, loaded_at=self._ready_at, stale_since=self._stale_since, error=self._error)

    async def arefresh(self) -> None:
        """Start the provider if needed, without blocking the event loop."""
        if self._provider is None:
            await asyncio.to_thread(self._start)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            provider, self._provider = self._provider, None
        # No evaluation waits for a start that does not come any more.
        self._settled.set()
        if provider is not None:
            provider.shutdown()

    def _start(self) -> FeatureProvider | None:
        with self._lock:
            if self._provider is None and not self._closed and time.monotonic() >= self._next_start:
                self._next_start = time.monotonic() + RETRY_SECONDS
                threading.Thread(target=self._initialize, name="dovetail-flags-provider", daemon=True).start()
        # Waiting in an event loop would stop all of its requests. They get defaults until the provider is ready.
        if not _in_event_loop():
            self._settled.wait(START_SECONDS)
        return self._provider

    def _initialize(self) -> None:
        provider: FeatureProvider | None = None
        try:
            provider = self._create()
            self._name = provider.get_metadata().name
            provider.attach(self._receive)
            provider.initialize(EvaluationContext())
        except Exception as error:  # noqa: BLE001  # creating a provider can raise anything
            self._failed(f"{type(error).__name__}: {error}")
            logger.error("The provider of feature flags cannot be started: %s", self._error)
        else:
            with self._lock:
                if not self._closed:
                    self._ready_at, self._stale_since, self._error = timezone.now(), None, ""
                    self._provider, provider = provider, None
        finally:
            # A provider that was not started in time goes on trying, in threads of its own.
            if provider is not None:
                _shut_down(provider)
            # From now on no evaluation waits, also while a provider that failed is started again.
            self._settled.set()

    def _receive(self, provider: FeatureProvider, event: ProviderEvent, details: ProviderEventDetails) -> None:
        if event in (ProviderEvent.PROVIDER_STALE, ProviderEvent.PROVIDER_ERROR):
            self._failed(details.message or event.value)
        else:
            self._stale_since, self._error = None, ""

    def _failed(self, error: str) -> None:
        self._stale_since, self._error = self._stale_since or timezone.now(), error

    def _log(self, key: str, error: Exception) -> None:
        # A provider that fails does so in each evaluation: without a limit, the log would be of no use.
        now = time.monotonic()
        if now >= self._next_log:
            self._next_log = now + LOG_SECONDS
            logger.error("The provider of feature flags cannot evaluate %r.", key, exc_info=error)


def _shut_down(provider: FeatureProvider) -> None:
    try:
        provider.shutdown()
    except Exception:
        logger.exception("The provider of feature flags cannot be shut down.")


def _attributes(attributes: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the attributes in OpenFeature's types. It has no null and no UUID."""
    for name, value in attributes.items():
        if isinstance(value, bool | int | float | str | datetime | list | dict):
            yield name, value
        elif isinstance(value, set | frozenset | tuple):
            yield name, list(map(str, value))
        elif value is not None:
            yield name, str(value)


def _resolver(provider: FeatureProvider, default: object) -> tuple[str, Callable[..., Any]]:
    # bool first, because it is a subclass of int.
    if isinstance(default, bool):
        return "boolean", provider.resolve_boolean_details
    if isinstance(default, str):
        return "string", provider.resolve_string_details
    if isinstance(default, int):
        return "integer", provider.resolve_integer_details
    if isinstance(default, float):
        return "number", provider.resolve_float_details
    return "object", provider.resolve_object_details


def _error_code(code: object) -> ErrorCode:
    return _ERRORS.get(str(getattr(code, "value", code)), ErrorCode.GENERAL)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
