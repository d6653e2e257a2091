from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.core.signals import setting_changed
from django.http import HttpRequest

from dovetail_flags.conf import conf
from dovetail_flags.evaluation.context import read_context
from dovetail_flags.evaluation.declared import declared_flags
from dovetail_flags.evaluation.failures import Failures
from dovetail_flags.evaluation.memo import RequestFlags, of_request
from dovetail_flags.exceptions import UnknownFlag
from dovetail_flags.providers.base import Invalidation, Provider, View
from dovetail_flags.providers.changes import Change, flags_changed
from dovetail_flags.rules.answers import Answers
from dovetail_flags.types.context import Context, LazyContext
from dovetail_flags.types.declaration import DECLARATIONS, Declared
from dovetail_flags.types.details import Details, ErrorCode, Health, Reason, own_value, with_default

T = TypeVar("T")
#: Called with the key, the details and the context of each evaluation.
Observer = Callable[[str, Details, Context], object]


class Flags:
    """Evaluates flags. ``dovetail_flags.flags`` is the instance of the process.

    No evaluation raises if a flag, the provider or ``FLAGS_CONTEXT`` fails: the result is the default of the call, else
    the one that the flag is declared with, else False or None. Only ``health()`` and ``provider`` raise if the provider
    cannot be created.

    Without ``targeting_key`` and ``attributes``, the context is that of the request; outside of requests, that of
    ``dovetail_core.context``, such as the organization of a task. With either, outside of requests, the context
    consists of them alone.
    """

    def __init__(self) -> None:
        self._provider: Provider | None = None
        self._invalidation: Invalidation | None = None
        self._lock = threading.Lock()
        self._declared: Mapping[str, Declared] = {}
        self._declarations = -1
        self._exposure: Observer | None = None
        self._raises = False
        self.failures = Failures()
        #: Values that tests set, and functions that tests observe evaluations with.
        self.overrides: Mapping[str, Any] = {}
        self.observers: tuple[Observer, ...] = ()

    def enabled(
        self,
        key: str,
        request: HttpRequest | None = None,
        *,
        default: bool | None = None,
        targeting_key: object = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> bool:
        """Return the value of a boolean flag."""
        if default is None:
            default = self._declared_default(key)
            if type(default) is not bool:
                default = False
        return (
            self.details(key, request, default=default, targeting_key=targeting_key, attributes=attributes).value
            is True
        )

    def value(
        self,
        key: str,
        request: HttpRequest | None = None,
        *,
        default: Any = None,
        targeting_key: object = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the value of a flag of any type, or ``default`` if its type differs from that of ``default``."""
        return self.details(key, request, default=default, targeting_key=targeting_key, attributes=attributes).value

    def details(
        self,
        key: str,
        request: HttpRequest | None = None,
        *,
        default: Any = None,
        targeting_key: object = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Details:
        """Return the value with its variant, reason and rule, or with an error."""
        if default is None:
            default = self._declared_default(key)
        if key in self.overrides:
            return self._observed(key, default, self._override(key), Context())
        context: Context
        try:
            if request is not None and targeting_key is None and attributes is None:
                bound = of_request(self, request)
                context = bound.context
                details = with_default(bound.evaluate(key, default), default)
            else:
                context = self.context(request, targeting_key=targeting_key, attributes=attributes)
                details = self._view(request).details(key, default, context)
        except Exception as error:  # noqa: BLE001  # a flag must not break a request
            context = Context()
            details = self._failed(default, error)
        if self.observers or self._exposure is not None or self._raises:
            return self._observed(key, default, details, context)
        return details

    def all(
        self,
        request: HttpRequest | None = None,
        *,
        client_visible: bool = True,
        targeting_key: object = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> dict[str, Details]:
        """Return the details of all flags that clients may read, or of all flags, by their keys."""
        if targeting_key is None and attributes is None:
            return {key: self.details(key, request) for key in self._view_and_keys(request, client_visible)[1]}
        context = self.context(request, targeting_key=targeting_key, attributes=attributes)
        return self.all_in(context, request, client_visible=client_visible)

    def details_in(self, context: Context, key: str, request: HttpRequest | None = None) -> Details:
        """Return ``details()`` for this context alone. ``request`` only pins the flags."""
        try:
            view = self._view(request)
        except Exception as error:  # noqa: BLE001  # as in details()
            return self._failed(self._declared_default(key), error)
        return self._details_in(view, key, context)

    def all_in(
        self, context: Context, request: HttpRequest | None = None, *, client_visible: bool = True
    ) -> dict[str, Details]:
        """Return ``all()`` for this context alone. ``request`` only pins the flags."""
        # The context and what tests and FLAGS_EXPOSURE need once, and not for each flag: for 200 flags, that took
        # longer than the evaluation.
        view, keys = self._view_and_keys(request, client_visible)
        if self._is_observed():
            return {key: self._details_in(view, key, context) for key in keys}
        defaults = self._declared_flags()
        result: dict[str, Details] = {}
        for key in keys:
            default = self._declared_default(key) if key in defaults else None
            try:
                result[key] = view.details(key, default, context)
            except Exception as error:  # noqa: BLE001  # as in details()
                result[key] = self._failed(default, error)
        return result

    def answers(self, context: Context, request: HttpRequest) -> tuple[Answers | None, tuple[Any, ...] | None]:
        """Return stored answers, and what identifies the one for this context. None if each evaluation counts."""
        try:
            answers: Answers | None = getattr(self._view(request), "answers", None)
            if answers is None or self._is_observed():
                return None, None
            return answers, answers.question(context)
        except Exception as error:  # noqa: BLE001  # as in details()
            self._failed(None, error)
            return None, None

    def context(
        self,
        request: HttpRequest | None = None,
        *,
        targeting_key: object = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Context:
        """Return the context of a call. With a request, its attributes are those of the request and ``attributes``.

        ``FLAGS_CONTEXT`` is called at the first use of the context, which then raises its exceptions.
        """
        explicit = targeting_key is not None or attributes is not None
        if request is None:
            if explicit:
                return Context(targeting_key, attributes)
            return LazyContext(lambda: read_context(None))
        base = of_request(self, request).context
        return LazyContext(lambda: base.extended(targeting_key, attributes)) if explicit else base

    def of(self, request: Any) -> RequestFlags:
        """Return the flags of a request, as ``request.flags`` does with the middleware."""
        return of_request(self, request)

    def token(self, request: HttpRequest | None = None) -> str | None:
        """Return a text that differs if any flag does, for ETags. None if the provider cannot tell."""
        try:
            return self._view(request).token()
        except Exception as error:  # noqa: BLE001  # as in details()
            self._failed(None, error)
            return None

    def kind(self, key: str, request: HttpRequest | None = None) -> str | None:
        """Return the type of a flag, such as ``number``. None if the provider does not know it."""
        try:
            return self._view(request).kind(key)
        except Exception as error:  # noqa: BLE001  # as in details()
            self._failed(None, error)
            return None

    def health(self) -> Health:
        """Return whether the flags are up to date. Reads them if they are due."""
        return self.provider.health()

    @property
    def writable(self) -> bool:
        """Whether the services of this package change the flags. False if the provider cannot be created."""
        try:
            return self.provider.writable
        except Exception as error:  # noqa: BLE001  # as in details()
            self._failed(None, error)
            return False

    async def arefresh(self) -> None:
        """Read the flags if they are due. Call it in consumers; the middleware calls it before async views."""
        try:
            await self.provider.arefresh()
        except Exception as error:  # noqa: BLE001  # as in details()
            self._failed(None, error)

    async def aload(self, request: HttpRequest) -> None:
        """Read the context of a request in a thread. Await it before sync calls and templates in an event loop.

        The context is read again if the user or the organization of the request changes later.
        """
        await self.arefresh()
        try:
            await sync_to_async(of_request(self, request).load)()
        except Exception as error:  # noqa: BLE001  # as in details()
            self._failed(None, error)

    async def aenabled(self, key: str, request: HttpRequest | None = None, **options: Any) -> bool:
        return await self._aevaluate(self.enabled, key, request, options)

    async def avalue(self, key: str, request: HttpRequest | None = None, **options: Any) -> Any:
        return await self._aevaluate(self.value, key, request, options)

    async def adetails(self, key: str, request: HttpRequest | None = None, **options: Any) -> Details:
        return await self._aevaluate(self.details, key, request, options)

    @property
    def provider(self) -> Provider:
        """The provider of this process, which the first use creates."""
        return self._provider or self._start()

    def reset(self) -> None:
        """Forget the provider and its flags. The next evaluation starts anew."""
        provider, invalidation = self._provider, self._invalidation
        self.forget()
        for part in (invalidation, provider):
            if part is not None:
                part.close()

    def forget(self) -> None:
        """Drop the provider of the parent process: its threads do not exist here, and its locks may be held."""
        self._provider = self._invalidation = self._exposure = None
        self._lock = threading.Lock()
        self._declarations = -1
        self._raises = False

    def refresh(self) -> None:
        """Read the flags again, if this process has read them."""
        if self._provider is not None:
            self._provider.refresh()

    def publish(self) -> None:
        """Read the changed flags in this process, and tell the others."""
        self.refresh()
        try:
            if conf.INVALIDATION is not None:
                # A command that changes a flag evaluates none, and has no channel yet.
                self._start()
            if self._invalidation is not None:
                self._invalidation.publish()
        except Exception as error:  # noqa: BLE001  # the change is committed; the others see it a little later
            self._failed(None, error)

    def _start(self) -> Provider:
        with self._lock:
            if self._provider is None:
                provider: Provider = conf.PROVIDER(**conf.PROVIDER_OPTIONS)
                self._exposure = conf.EXPOSURE
                self._raises = conf.UNKNOWN == "raise"
                if conf.INVALIDATION is not None and self._invalidation is None:
                    self._invalidation = conf.INVALIDATION()
                    self._invalidation.start(provider.expire)
                self._provider = provider
            return self._provider

    def _declared_flags(self) -> Mapping[str, Declared]:
        if self._declarations != len(DECLARATIONS):
            self._declared = declared_flags()
            self._declarations = len(DECLARATIONS)
        return self._declared

    def _declared_default(self, key: str) -> Any:
        declared = self._declared_flags().get(key)
        return None if declared is None else own_value(declared.default)

    def _is_observed(self) -> bool:
        return bool(self.overrides or self.observers) or self._exposure is not None or self._raises

    def _override(self, key: str) -> Details:
        return Details(own_value(self.overrides[key]), "override", Reason.STATIC)

    def _view(self, request: HttpRequest | None) -> View:
        return self.provider.pin() if request is None else of_request(self, request).view

    def _view_and_keys(self, request: HttpRequest | None, client_visible: bool) -> tuple[Any, Sequence[str]]:
        try:
            view = self._view(request)
            return view, list(view.keys(client_visible=client_visible))
        except Exception as error:  # noqa: BLE001  # as in details()
            self._failed(None, error)
            return None, ()

    def _details_in(self, view: View, key: str, context: Context) -> Details:
        default = self._declared_default(key)
        if key in self.overrides:
            return self._observed(key, default, self._override(key), context)
        try:
            details = view.details(key, default, context)
        except Exception as error:  # noqa: BLE001  # as in details()
            details = self._failed(default, error)
        if self.observers or self._exposure is not None or self._raises:
            return self._observed(key, default, details, context)
        return details

    def _observed(self, key: str, default: Any, details: Details, context: Context) -> Details:
        if self._raises and details.error == ErrorCode.FLAG_NOT_FOUND and key not in self._declared:
            raise UnknownFlag(key)
        for observe in self.observers:
            observe(key, details, context)
        if self._exposure is not None:
            try:
                self._exposure(key, details, context)
            except Exception as error:  # noqa: BLE001  # of the project; a flag must not break a request
                self._failed(default, error)
        return details

    def report(self, error: Exception) -> None:
        """Log a failure, at most once a minute."""
        self._failed(None, error)

    def _failed(self, default: Any, error: Exception) -> Details:
        return self.failures.details(default, error)

    async def _aevaluate(
        self, evaluate: Callable[..., T], key: str, request: HttpRequest | None, options: Mapping[str, Any]
    ) -> T:
        if key in self.overrides:
            return evaluate(key, request, **options)
        await self.arefresh()
        if request is not None:
            is_known = of_request(self, request).is_loaded
        else:
            is_known = options.get("targeting_key") is not None or options.get("attributes") is not None
        if is_known:
            return evaluate(key, request, **options)
        # In a thread, because FLAGS_CONTEXT and the lazy user of Django's middleware query. The user is not assigned
        # to the request: another middleware may have set it, which the session does not know.
        return await sync_to_async(self._load_and_evaluate)(evaluate, key, request, options)

    def _load_and_evaluate(
        self, evaluate: Callable[..., T], key: str, request: HttpRequest | None, options: Mapping[str, Any]
    ) -> T:
        if request is not None:
            # So that later evaluations of the request need no thread. The evaluation reports an exception.
            with suppress(Exception):
                of_request(self, request).load()
        return evaluate(key, request, **options)


flags = Flags()
os.register_at_fork(after_in_child=flags.forget)


def _committed(sender: object, **kwargs: Any) -> None:
    # After migrate and flush, no other process needs a message.
    if sender is Change:
        flags.publish()
    else:
        flags.refresh()


def _setting_changed(setting: str, **kwargs: Any) -> None:
    if setting.startswith("FLAGS_") or setting == "DATABASES":
        flags.reset()


flags_changed.connect(_committed, dispatch_uid="dovetail_flags.committed")
setting_changed.connect(_setting_changed, dispatch_uid="dovetail_flags.settings")
