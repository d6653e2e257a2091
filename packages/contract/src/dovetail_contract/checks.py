from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004  # Django's names
from django.core.exceptions import ImproperlyConfigured
from django.urls import get_resolver
from django.utils.module_loading import import_string

from dovetail_contract.base import AbstractIdempotencyRecord
from dovetail_contract.conf import CONTRACT_KEYS, conf, contract_of

_IDEMPOTENCY = "dovetail_contract.middleware.IdempotencyMiddleware"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_DEPRECATION = "dovetail_contract.middleware.DeprecationMiddleware"
_THROTTLE = "dovetail_contract.throttling.RateLimitThrottle"


def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    return conf.check()


def check_rates(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    from dovetail_contract.throttling.policies import make

    if _THROTTLE not in _rest_framework("DEFAULT_THROTTLE_CLASSES"):
        return
    rates = _rest_framework("DEFAULT_THROTTLE_RATES") or {}
    for source, declared in (("DEFAULT_THROTTLE_RATES", rates), ("CONTRACT_RATE_LIMITS", conf.RATE_LIMITS)):
        for name, rate in declared.items():
            try:
                if rate is not None:
                    make(name, rate)
            except (TypeError, ValueError) as error:
                yield Error(
                    f"The rate limit {name!r} in {source} is {rate!r}: {error}",
                    hint="Write a number and a period, such as '600/min', or a mapping with 'rate' and 'by'.",
                    id="dovetail_contract.E002",
                )


def check_store(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    from dovetail_contract.throttling.stores import MemoryStore

    if conf.RATE_LIMIT_STORE is MemoryStore and _THROTTLE in _rest_framework("DEFAULT_THROTTLE_CLASSES"):
        yield Warning(
            "Rate limits are counted in each process by itself: with several, a client has several times the limit.",
            hint="Set CONTRACT_RATE_LIMIT_STORE to 'dovetail_contract.contrib.redis.RedisStore', and "
            "CONTRACT_RATE_LIMIT_LOCATION to its address.",
            id="dovetail_contract.W002",
        )


def check_middleware(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    names = list(getattr(settings, "MIDDLEWARE", ()))
    if _IDEMPOTENCY not in names:
        return
    for name in names[names.index(_IDEMPOTENCY) + 1 :]:
        if hasattr(import_string(name), "process_view"):
            yield Error(
                f"{name} stands after {_IDEMPOTENCY}, which calls the view itself: its process_view would be left out.",
                hint=f"Put {_IDEMPOTENCY} last in MIDDLEWARE.",
                id="dovetail_contract.E003",
            )


def check_versions(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    from dovetail_contract.lifecycle.versions import parse
    from dovetail_contract.versioning.versions import named_in

    try:
        known = parse(conf.VERSIONS)
    except ValueError:
        return  # reported as E001
    if (known or conf.DEPRECATIONS) and _DEPRECATION not in getattr(settings, "MIDDLEWARE", ()):
        yield Warning(
            "CONTRACT_VERSIONS and CONTRACT_DEPRECATIONS have no effect.",
            hint=f"Add {_DEPRECATION!r} to MIDDLEWARE, after the ProblemMiddleware.",
            id="dovetail_contract.W003",
        )
    routed = dict.fromkeys(named_in(path)[1] for path, _ in _routes(get_resolver())) if known else {}
    for name in routed:
        if name and name not in known:
            yield Error(
                f"CONTRACT_VERSIONS does not name version {name}, which has routes: they are answered with 404.",
                hint=f"Add {name!r} to CONTRACT_VERSIONS, or take its routes away.",
                id="dovetail_contract.E005",
            )


def check_views(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """The ``contract`` of a view is read per request. Without this check, its first client would see a mistake."""
    if not hasattr(settings, "ROOT_URLCONF"):
        return
    seen: list[tuple[Any, Any]] = []
    for _, callback in _routes(get_resolver()):
        view, contract = getattr(callback, "cls", None), contract_of(callback)
        if view is None or not contract or (view, contract) in seen:
            continue
        seen.append((view, contract))
        name = f"{view.__module__}.{view.__qualname__}"
        if wrong := _wrong_recovery(contract):
            yield Error(
                f"{name} has 'recover': {contract['recover']!r}, {wrong}.",
                hint="Name a function of the request and the record, beside 'external': True.",
                id="dovetail_contract.E006",
            )
        for wrong in _wrong(view, contract):
            yield Error(
                f"{name} has a contract that cannot be kept: {wrong}",
                hint="See the README of dovetail-contract for what a view may say.",
                id="dovetail_contract.E007",
            )
        for key in set(contract) - set(CONTRACT_KEYS):
            # A project may have keys of its own; only a near miss of one of ours is reported.
            if near := difflib.get_close_matches(str(key), CONTRACT_KEYS, n=1, cutoff=0.8):
                yield Warning(
                    f"{name} says {key!r} in its contract, which means nothing.",
                    hint=f"Did you mean {near[0]!r}?",
                    id="dovetail_contract.W004",
                )


def _wrong_recovery(contract: Mapping[str, Any]) -> str:
    from dovetail_contract.idempotency.recovery import declared

    if not contract.get("recover"):
        return ""
    try:
        if not callable(declared(contract)):
            return "which is no function"
    except ImportError as error:
        return f"which cannot be imported: {error}"
    return "" if contract.get("external") else "and not 'external': nobody asks it"


def _wrong(view: Any, contract: Mapping[str, Any]) -> Iterator[str]:
    from dovetail_contract.filters.backend import FilterBackend, conditions
    from dovetail_contract.idempotency.execution import MODES
    from dovetail_contract.lifecycle.dates import lifecycle

    deprecated = contract.get("deprecated") or {}
    try:
        if deprecated:
            lifecycle({name: value for name, value in deprecated.items() if name != "only"})
        for name in deprecated.get("only", ()):
            if name not in _METHODS and not hasattr(view, name):
                yield f"'deprecated' names {name!r}, which is no method and no action of it."
    except (AttributeError, TypeError, ValueError) as error:
        yield f"'deprecated' {error}."
    if contract.get("idempotency", "off") not in MODES:
        yield f"'idempotency' is {contract['idempotency']!r}; it takes one of {', '.join(MODES)}."
    hours = contract.get("idempotency_hours", 1)
    if not isinstance(hours, int) or hours < 1:
        yield f"'idempotency_hours' is {hours!r}; it takes a whole number of at least 1."
    if contract.get("total", "exact") != "exact":
        yield f"'total' is {contract['total']!r}; it takes 'exact' alone."
    queryset = getattr(view, "queryset", None)
    own = contract is getattr(view, "contract", None)  # and not that of one action, which is rarely a list
    if own and queryset is not None and FilterBackend in getattr(view, "filter_backends", ()):
        try:
            conditions(view, queryset.model)
        except ImproperlyConfigured as error:
            yield str(error)


def _routes(resolver: Any, before: str = "/") -> Iterator[tuple[str, Any]]:
    for pattern in resolver.url_patterns:
        path = before + str(pattern.pattern).lstrip("^")
        if hasattr(pattern, "url_patterns"):
            yield from _routes(pattern, path)
        else:
            yield path, pattern.callback


def check_model(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    hint = "Name ours, or a subclass of dovetail_contract.base.AbstractIdempotencyRecord of an installed app."
    label = conf.IDEMPOTENCY_MODEL
    try:
        model = apps.get_model(label)
    except (LookupError, ValueError) as error:
        yield Error(f"CONTRACT_IDEMPOTENCY_MODEL is {label!r}: {error}", hint=hint, id="dovetail_contract.E004")
        return
    # By its fields: a project's own model may have them without inheriting.
    missing = [
        field.name
        for field in AbstractIdempotencyRecord._meta.get_fields()
        if not any(field.name == own.name for own in model._meta.get_fields())
    ]
    if missing:
        yield Error(
            f"CONTRACT_IDEMPOTENCY_MODEL is {label!r}, which lacks {', '.join(missing)}.",
            hint=hint,
            id="dovetail_contract.E004",
        )


def _rest_framework(name: str) -> Any:
    return getattr(settings, "REST_FRAMEWORK", {}).get(name) or ()
