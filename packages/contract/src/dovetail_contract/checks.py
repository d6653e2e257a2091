from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004  # Django's names
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from dovetail_contract.base import AbstractIdempotencyRecord
from dovetail_contract.conf import CONTRACT_KEYS, conf, contract_of
from dovetail_core.conf import conf as core
from dovetail_core.conf import one_of, positive_integer
from dovetail_core.inspection import classes_of, path_of, routes

_IDEMPOTENCY = "dovetail_contract.middleware.IdempotencyMiddleware"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_DEPRECATION = "dovetail_contract.middleware.DeprecationMiddleware"
_THROTTLE = "dovetail_contract.throttling.RateLimitThrottle"
_RATE_LIMITS = "dovetail_contract.middleware.RateLimitMiddleware"


def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    return conf.check()


def check_rates(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    from dovetail_contract.throttling.policies import make_policy

    rates = _rest_framework("DEFAULT_THROTTLE_RATES") or {}
    messages: list[CheckMessage] = []
    for source, declared in (("DEFAULT_THROTTLE_RATES", rates), ("CONTRACT_RATE_LIMITS", conf.RATE_LIMITS)):
        for name, rate in declared.items():
            try:
                if rate is not None:
                    make_policy(name, rate)
            except (TypeError, ValueError) as error:
                messages.append(
                    Error(
                        f"The rate limit {name!r} in {source} is {rate!r}: {error}",
                        hint="Use a number and a period, such as '600/min', or a mapping with 'rate' and 'by'.",
                        id="dovetail_contract.E002",
                    )
                )
    # Last, because it reads all routes, and this check runs before every command.
    return messages if messages and _has_throttle() else []


def check_store(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    from dovetail_contract.throttling.stores import MemoryStore

    if conf.RATE_LIMIT_STORE is MemoryStore and _has_throttle():
        yield Warning(
            "Each process counts rate limits separately, so a client gets the full limit from every process.",
            hint="Set CONTRACT_RATE_LIMIT_STORE to 'dovetail_contract.contrib.redis.RedisStore', and "
            "CONTRACT_RATE_LIMIT_LOCATION to the URL of your Redis server.",
            id="dovetail_contract.W002",
        )


def check_shares(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that the processes can share the limits while the store is unavailable."""
    from dovetail_contract.throttling.stores import MemoryStore

    if conf.RATE_LIMIT_STORE is MemoryStore:
        return
    limits = [(name, limit) for name, limit, on_error in _limits() if on_error == "local"]
    if limits and core.PROCESSES is None:
        yield Warning(
            "While the store of rate limits is unavailable, every process allows the full limit, because "
            "DOVETAIL_PROCESSES is not set.",
            hint="Set DOVETAIL_PROCESSES to the number of processes that serve requests, on all machines together.",
            id="dovetail_contract.W005",
        )
    for name, limit in limits:
        if core.PROCESSES is not None and limit < core.PROCESSES:
            yield Warning(
                f"While the store of rate limits is unavailable, all requests that {name!r} limits are refused: its "
                f"limit of {limit} is smaller than DOVETAIL_PROCESSES, which is {core.PROCESSES}.",
                hint="Raise the limit, or set 'on_error' of the policy to 'allow' or 'deny'.",
                id="dovetail_contract.W006",
            )


def _limits() -> Iterator[tuple[str, int, str]]:
    """Yield the name, the smaller of limit and burst, and ``on_error`` of the valid policies with fixed limits."""
    from dovetail_contract.throttling.policies import make_policy

    declared: dict[str, Any] = {}
    if _has_throttle():
        declared |= {**(_rest_framework("DEFAULT_THROTTLE_RATES") or {}), **conf.RATE_LIMITS}
    if _RATE_LIMITS in getattr(settings, "MIDDLEWARE", ()):
        declared |= {"failures": conf.RATE_LIMIT_FAILURES, "address": conf.RATE_LIMIT_FLOOD}
    for name, declaration in declared.items():
        try:
            policy = None if declaration is None else make_policy(name, declaration)
        except (TypeError, ValueError):
            continue  # reported as E001 or E002
        if policy is not None and not callable(policy.limit):
            limit = min(policy.limit, policy.burst or policy.limit) // policy.cost
            yield name, limit, policy.on_error or conf.RATE_LIMIT_ON_ERROR


def _has_throttle() -> bool:
    """Return whether any view has ``RateLimitThrottle``, by default or by its own ``throttle_classes``."""
    if _THROTTLE in _rest_framework("DEFAULT_THROTTLE_CLASSES"):
        return True
    throttle = import_string(_THROTTLE)
    # The classes of a view are often those of the defaults, so each list is examined once.
    lists = {classes_of(route.callback, "throttle_classes") for route in routes()}
    return any(isinstance(entry, type) and issubclass(entry, throttle) for classes in lists for entry in classes)


def check_middleware(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    names = list(getattr(settings, "MIDDLEWARE", ()))
    if _IDEMPOTENCY not in names:
        return
    for name in names[names.index(_IDEMPOTENCY) + 1 :]:
        if hasattr(import_string(name), "process_view"):
            yield Error(
                f"{name} comes after {_IDEMPOTENCY}, which calls the view itself, so its process_view() is skipped.",
                hint=f"Move {_IDEMPOTENCY} to the end of MIDDLEWARE.",
                id="dovetail_contract.E003",
            )


def check_versions(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    from dovetail_contract.lifecycle import parse_versions
    from dovetail_contract.versioning import find_version

    try:
        known = parse_versions(conf.VERSIONS)
    except ValueError:
        return  # reported as E001
    if (known or conf.DEPRECATIONS) and _DEPRECATION not in getattr(settings, "MIDDLEWARE", ()):
        yield Warning(
            "CONTRACT_VERSIONS and CONTRACT_DEPRECATIONS have no effect without DeprecationMiddleware.",
            hint=f"Add {_DEPRECATION!r} to MIDDLEWARE, after ProblemMiddleware.",
            id="dovetail_contract.W003",
        )
    routed = dict.fromkeys(find_version(f"/{route.path}")[1] for route in routes()) if known else {}
    for name in routed:
        if name and name not in known:
            yield Error(
                f"Version {name} has routes but is not in CONTRACT_VERSIONS, so its requests are answered with 404.",
                hint=f"Add {name!r} to CONTRACT_VERSIONS, or remove its routes.",
                id="dovetail_contract.E005",
            )


def check_views(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check the ``contract`` of every view. Without this check, the first request would reveal a mistake."""
    seen: list[tuple[type, Mapping[str, Any]]] = []
    for callback in (route.callback for route in routes()):
        view, contract = getattr(callback, "cls", None), contract_of(callback)
        if view is None or not contract or (view, contract) in seen:
            continue
        seen.append((view, contract))
        name = path_of(view)
        if mistake := _recovery_mistake(contract):
            yield Error(
                f"The 'recover' of {name} is {contract['recover']!r}, {mistake}.",
                hint="Set 'recover' to a function that takes the request and the record, and set 'external': True.",
                id="dovetail_contract.E006",
            )
        for mistake in _mistakes(view, contract):
            yield Error(
                f"The contract of {name} is invalid: {mistake}",
                hint="See the README of dovetail-contract for the keys of a view's contract.",
                id="dovetail_contract.E007",
            )
        for key in set(contract) - set(CONTRACT_KEYS):
            # Projects may add their own keys, so only a near miss of a known key is reported.
            if near := difflib.get_close_matches(str(key), CONTRACT_KEYS, n=1, cutoff=0.8):
                yield Warning(
                    f"The contract of {name} has the unknown key {key!r}.",
                    hint=f"Did you mean {near[0]!r}?",
                    id="dovetail_contract.W004",
                )


def _recovery_mistake(contract: Mapping[str, Any]) -> str:
    from dovetail_contract.idempotency.recovery import find_function

    if not contract.get("recover"):
        return ""
    try:
        if not callable(find_function(contract)):
            return "which is not callable"
    except ImportError as error:
        return f"which cannot be imported: {error}"
    return "" if contract.get("external") else "which is never called, because the view does not set 'external': True"


def _mistakes(view: type, contract: Mapping[str, Any]) -> Iterator[str]:
    from dovetail_contract.filters import FilterBackend, conditions
    from dovetail_contract.idempotency.execution import MODES
    from dovetail_contract.lifecycle import lifecycle

    deprecated = contract.get("deprecated") or {}
    try:
        if deprecated:
            lifecycle({name: value for name, value in deprecated.items() if name != "only"})
        for name in deprecated.get("only", ()):
            if name not in _METHODS and not hasattr(view, name):
                yield f"'deprecated' names {name!r}, which is neither a method nor an action of the view."
    except (AttributeError, TypeError, ValueError) as error:
        yield f"'deprecated' has an error: {error}."
    validators = {"idempotency": one_of(*MODES), "idempotency_hours": positive_integer, "total": one_of("exact")}
    for key, validate in validators.items():
        try:
            if key in contract:
                validate(contract[key])
        except ValueError as error:
            yield f"{key!r} is {contract[key]!r}; it {error}."
    model = getattr(getattr(view, "queryset", None), "model", None)
    # The contract of a single action is skipped: an action is rarely a list.
    is_class_contract = contract is getattr(view, "contract", None)
    if is_class_contract and model is not None and FilterBackend in classes_of(view, "filter_backends"):
        try:
            conditions(view, model)
        except ImproperlyConfigured as error:
            yield str(error)


def check_model(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    label = conf.IDEMPOTENCY_MODEL
    try:
        fields = {field.name for field in apps.get_model(label)._meta.get_fields()}
        # By fields and not by class: a project's model may declare them without inheriting.
        missing = [field.name for field in AbstractIdempotencyRecord._meta.get_fields() if field.name not in fields]
        mistake = f", which lacks the fields: {', '.join(missing)}." if missing else ""
    except (LookupError, ValueError) as error:
        mistake = f": {error}"
    if mistake:
        hint = "Use the default, or a subclass of dovetail_contract.base.AbstractIdempotencyRecord in an installed app."
        yield Error(f"CONTRACT_IDEMPOTENCY_MODEL is {label!r}{mistake}", hint=hint, id="dovetail_contract.E004")


def _rest_framework(name: str) -> Any:
    return getattr(settings, "REST_FRAMEWORK", {}).get(name) or ()


CHECKS = (check_settings, check_rates, check_middleware, check_model, check_versions, check_views)
