"""Configuration: the ``CONTRACT_*`` settings, and the dictionary ``contract = {…}`` of a view."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import Promise

from dovetail_contract.lifecycle import lifecycle, parse_versions
from dovetail_core.conf import (
    AppSettings,
    ImportSetting,
    Setting,
    callable_object,
    model_label,
    one_of,
    optional,
    optional_callable,
    positive_integer,
    sequence_of_strings,
    web_address,
)


def _paths(value: object) -> None:
    sequence_of_strings(value)
    if not all(path.startswith("/") for path in value):  # type: ignore[attr-defined]  # checked by the line above
        raise ValueError("must be a list or tuple of paths that begin with '/'")


def _problem_types(value: object) -> None:
    if not isinstance(value, Mapping) or not all(_is_problem_type(*entry) for entry in value.items()):
        raise ValueError("must map a code to {'status': 400 to 599, 'title': '…'}, and optionally 'description'")


def _is_problem_type(code: object, fields: object) -> bool:
    if not isinstance(code, str) or not isinstance(fields, Mapping):
        return False
    status, title = fields.get("status"), fields.get("title")
    is_error = isinstance(status, int) and 400 <= status <= 599
    return is_error and isinstance(title, str | Promise) and set(fields) <= {"status", "title", "description"}


def _rate(value: object) -> None:
    if not isinstance(value, str) or not re.fullmatch(r"[1-9][0-9]{0,8}/[smhd][a-z]*", value):
        raise ValueError("must be a number and a period, such as '600/min'")


def _rate_limits(value: object) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValueError("must map the name of a policy to a rate, such as {'exports': '10/hour'}")


def _text(value: object) -> None:
    if not isinstance(value, str):
        raise ValueError("must be a string")


def _cache_control(value: object) -> None:
    # "public" by mistake would publish every response.
    if not isinstance(value, str) or not {"no-store", "private"}.intersection(re.split(r"[\s,]+", value.lower())):
        raise ValueError("must be a value of Cache-Control with 'no-store' or 'private'")


def _deprecations(value: object) -> None:
    if not isinstance(value, Mapping):
        raise ValueError("must map path prefixes to {'since': '2026-11-01T00:00:00Z', 'sunset': …}")
    for path, declared in value.items():
        try:
            lifecycle(declared)
        except (TypeError, ValueError) as error:
            raise ValueError(f"has an error in {path!r}: {error}") from error


def _versions(value: object) -> None:
    parse_versions(value)  # type: ignore[arg-type]  # it raises ValueError for another type


class ContractSettings(AppSettings, prefix="CONTRACT_", app_label="dovetail_contract"):
    API_PATHS: Setting[Sequence[str]] = Setting(
        ("/api/",), "Path prefixes of the API. If set, `ProblemMiddleware` converts every error below them.", _paths
    )
    PROBLEM_BASE_URL = Setting(
        "",
        "The base of a problem's `type`, before `/problems/<code>`. Empty means a path of this host if "
        "`dovetail_contract.urls` is included, else `about:blank`.",
        web_address,
    )
    PROBLEM_TYPES: Setting[Mapping[str, Mapping[str, Any]]] = Setting(
        {}, "Codes of your own: `{'account_frozen': {'status': 409, 'title': 'Account frozen'}}`.", _problem_types
    )
    PROBLEM_VERBATIM: Setting[Sequence[str]] = Setting(
        (),
        "Values of `error` for which a response `{'error': value}` is not converted to a problem.",
        sequence_of_strings,
    )
    CACHE_CONTROL = Setting(
        "no-store",
        "`Cache-Control` of API responses that do not set their own, such as `'private, no-cache'`.",
        _cache_control,
    )
    REQUEST_ID_TRUST = Setting(
        "everyone",
        "Whose `X-Request-ID` is accepted: `'everyone'`, `'proxies'` (`DOVETAIL_TRUSTED_PROXIES`) or `'nobody'`.",
        one_of("everyone", "proxies", "nobody"),
    )
    PAGE_SIZE = Setting(50, "Items per page without `limit`.", positive_integer)
    MAX_PAGE_SIZE = Setting(200, "The largest `limit` that a client may request.", positive_integer)
    UNKNOWN_PARAMETERS = Setting(
        "reject",
        "Unknown query parameters of a list: `'reject'` answers 400, `'ignore'` accepts them.",
        one_of("reject", "ignore"),
    )
    PAGE_MAX_ROWS = Setting(
        10_000,
        "The last row that `?page=` can reach, on views that accept it. Later pages are 400 `page_too_deep`.",
        positive_integer,
    )
    TOTAL_MAX = Setting(
        1000,
        "The largest total for `Prefer: return=total-count`. The total of a longer list is `null`.",
        positive_integer,
    )
    RATE_LIMITS: Setting[Mapping[str, Any]] = Setting(
        {},
        "Policies by name, which override `DEFAULT_THROTTLE_RATES`: a rate, a mapping with `rate`, `burst`, `by`, "
        "`cost`, `on_error`, or a `Policy`.",
        _rate_limits,
    )
    RATE_LIMIT_DEFAULT: Setting[Sequence[str]] = Setting(
        ("anon", "user"), "Policies that apply to every request, in addition to those of its view.", sequence_of_strings
    )
    RATE_LIMIT_FAILURES: Setting[str | None] = Setting(
        "30/min", "The rate of failed authentications from one address, or None for no limit.", optional(_rate)
    )
    RATE_LIMIT_FLOOD: Setting[str | None] = Setting(
        None, "The rate of all requests from one address, checked first, such as `'6000/min'`.", optional(_rate)
    )
    RATE_LIMIT_STORE: ImportSetting[Any] = ImportSetting(
        "dovetail_contract.throttling.stores.MemoryStore",
        "Where counts are stored: in each process, or in `dovetail_contract.contrib.redis.RedisStore`.",
        callable_object,
    )
    RATE_LIMIT_LOCATION = Setting("", "The URL of `RedisStore`: `redis://127.0.0.1:6379/1`.", _text)
    RATE_LIMIT_ON_ERROR = Setting(
        "local",
        "If the store is unavailable: `'local'` allows each process its share, `'allow'` does not limit, `'deny'` "
        "gives 503.",
        one_of("local", "allow", "deny"),
    )
    RATE_LIMIT_MODE = Setting(
        "enforce", "`'shadow'` logs requests above the limit, and lets them pass.", one_of("enforce", "shadow")
    )
    DEPRECATIONS: Setting[Mapping[str, Mapping[str, Any]]] = Setting(
        {},
        "Deprecations by path prefix: `{'/api/v1/': {'since': '2026-11-01T00:00:00Z', 'sunset': …, 'link': …}}`.",
        _deprecations,
    )
    VERSIONS: Setting[Mapping[str, Mapping[str, Any]]] = Setting(
        {},
        "Versions by path segment: `{'v1': {'status': 'deprecated', 'deprecated_at': …, 'sunset_at': …, "
        "'successor': 'v2'}, 'v2': {}}`. Empty disables versions.",
        _versions,
    )
    IDEMPOTENCY_MODEL = Setting(
        "dovetail_contract.IdempotencyRecord",
        "The model of idempotency records: the default, or a subclass of `AbstractIdempotencyRecord`.",
        model_label,
    )
    IDEMPOTENCY_DEFAULT = Setting(
        "optional",
        "`Idempotency-Key` on views that declare nothing: `'off'`, `'optional'` or `'required'`.",
        one_of("off", "optional", "required"),
    )
    IDEMPOTENCY_METHODS: Setting[Sequence[str]] = Setting(
        ("POST", "PUT"), "The methods that accept a key.", sequence_of_strings
    )
    IDEMPOTENCY_LEASE_SECONDS = Setting(
        10,
        "Seconds until another request may take over an unfinished one, which is then rolled back. Twice as long after "
        "each takeover. Views with effects outside of the database that take longer must set `'external': True`, or "
        "this setting must be 60.",
        positive_integer,
    )
    IDEMPOTENCY_MAX_LEASE_SECONDS = Setting(
        60,
        "The longest of these times, and the time for external effects, which a rollback does not undo. Must exceed "
        "the timeout of a worker.",
        positive_integer,
    )
    IDEMPOTENCY_RECOVER: ImportSetting[Any] = ImportSetting(
        None,
        "A function that takes the request and the record, and returns the outcome of unfinished external work. Views "
        "override it with `recover`.",
        optional_callable,
    )
    IDEMPOTENCY_RETENTION_HOURS = Setting(24, "Hours until a key expires.", positive_integer)
    IDEMPOTENCY_MAX_BYTES = Setting(
        262_144, "The largest response, in bytes, that is stored for a replay.", positive_integer
    )


conf = ContractSettings()

#: The keys of a view's ``contract = {…}``.
CONTRACT_KEYS: Final = (
    "codes",
    "deprecated",
    "external",
    "filter",
    "idempotency",
    "idempotency_hours",
    "page",
    "query",
    "recover",
    "sort",
    "throttle",
    "total",
)


def contract_of(view: object) -> Mapping[str, Any]:
    """Return the ``contract`` of a view instance, a view class, or the result of ``as_view()``. Empty if there is none.

    ``@action(contract=…)`` overrides the dictionary of the class.
    """
    initkwargs = getattr(view, "initkwargs", None) or {}
    declared: Mapping[str, Any] | None = initkwargs.get("contract")
    return declared or getattr(getattr(view, "cls", view), "contract", None) or {}


def action_of(view: object, method: str) -> str:
    """Return the action of a view set that handles ``method``. Empty for other views."""
    return str((getattr(view, "actions", None) or {}).get(method.lower(), ""))


def is_api(request: HttpRequest) -> bool:
    return request.path_info.startswith(tuple(conf.API_PATHS))


def names_api_paths() -> bool:
    """Return whether the project itself sets ``CONTRACT_API_PATHS``."""
    return hasattr(settings, ContractSettings.API_PATHS.name)
