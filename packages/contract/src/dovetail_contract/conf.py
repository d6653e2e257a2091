from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from dovetail_core.conf import (
    AppSettings,
    ImportSetting,
    Setting,
    model_label,
    one_of,
    positive_integer,
    sequence_of_strings,
)


def _paths(value: object) -> None:
    sequence_of_strings(value)
    if not all(path.startswith("/") for path in value):  # type: ignore[attr-defined]  # checked in the line above
        raise ValueError("must be a list or tuple of paths that begin with '/'")


def _base_url(value: object) -> None:
    if value == "":
        return
    parts = urlsplit(value) if isinstance(value, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("must be an absolute http(s) address, or empty")


def _problem_types(value: object) -> None:
    wrong = "must map a code to {'status': 400 to 599, 'title': '…'}, and optionally 'description'"
    if not isinstance(value, Mapping):
        raise ValueError(wrong)
    for code, fields in value.items():
        if not isinstance(code, str) or not isinstance(fields, Mapping):
            raise ValueError(wrong)
        status = fields.get("status")
        if not isinstance(status, int) or not 400 <= status <= 599 or not isinstance(fields.get("title"), str):
            raise ValueError(wrong)
        if set(fields) - {"status", "title", "description"}:
            raise ValueError(wrong)


def _rate_or_none(value: object) -> None:
    if value is not None:
        _rate(value)


def _rate(value: object) -> None:
    if not isinstance(value, str) or not re.fullmatch(r"[1-9][0-9]{0,8}/[smhd][a-z]*", value):
        raise ValueError("must be a number and a period, such as '600/min'")


def _rate_limits(value: object) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValueError("must map the name of a policy to a rate, such as {'exports': '10/hour'}")


def _callable(value: object) -> None:
    if not callable(value):
        raise ValueError("must be a class or its dotted path")


def _text(value: object) -> None:
    if not isinstance(value, str):
        raise ValueError("must be text")


def _deprecations(value: object) -> None:
    from dovetail_contract.deprecation import lifecycle  # it reads these settings

    if not isinstance(value, Mapping):
        raise ValueError("must map the beginnings of paths to {'since': '2026-11-01T00:00:00Z', 'sunset': …}")
    for path, declared in value.items():
        try:
            lifecycle(declared)
        except (TypeError, ValueError) as error:
            raise ValueError(f"must be right for {path!r}, which {error}") from error


def _versions(value: object) -> None:
    from dovetail_contract.versions import parse  # it reads these settings

    parse(value)  # type: ignore[arg-type]  # it says so of anything else


def _callable_or_none(value: object) -> None:
    if value is not None and not callable(value):
        raise ValueError("must be a function, its dotted path, or None")


class ContractSettings(AppSettings, prefix="CONTRACT_", app_label="dovetail_contract"):
    API_PATHS: Setting[Sequence[str]] = Setting(
        ("/api/",), "Paths that begin so belong to the API: every error under them is a problem.", _paths
    )
    PROBLEM_BASE_URL = Setting(
        "",
        "What a problem's `type` begins with, before `/problems/<code>`; empty gives a path of this host where "
        "`dovetail_contract.urls` is included, else `about:blank`.",
        _base_url,
    )
    PROBLEM_TYPES: Setting[Mapping[str, Mapping[str, Any]]] = Setting(
        {}, "Codes of your own: `{'account_frozen': {'status': 409, 'title': 'Account frozen'}}`.", _problem_types
    )
    PROBLEM_VERBATIM: Setting[Sequence[str]] = Setting(
        (), "Values of `error` whose answers `{'error': value}` stay as the view wrote them.", sequence_of_strings
    )
    REQUEST_ID_TRUST = Setting(
        "everyone",
        "Whose `X-Request-ID` is taken on: `'everyone'`, `'proxies'` (`DOVETAIL_TRUSTED_PROXIES`) or `'nobody'`.",
        one_of("everyone", "proxies", "nobody"),
    )
    PAGE_SIZE = Setting(50, "Items of a page that asks for no number.", positive_integer)
    MAX_PAGE_SIZE = Setting(200, "The largest `limit` a client may ask for.", positive_integer)
    UNKNOWN_PARAMETERS = Setting(
        "reject",
        "Query parameters that a list knows nothing of: `'reject'` is 400, `'ignore'` passes.",
        one_of("reject", "ignore"),
    )
    PAGE_MAX_ROWS = Setting(
        10_000,
        "The last row that `?page=` reaches, on views that take it; beyond, 400 `page_too_deep`.",
        positive_integer,
    )
    TOTAL_MAX = Setting(
        1000,
        "Up to how many rows a list is counted for `Prefer: return=total-count`; beyond, `null`.",
        positive_integer,
    )
    RATE_LIMITS: Setting[Mapping[str, Any]] = Setting(
        {},
        "Policies by name, before those of `DEFAULT_THROTTLE_RATES`: a rate, a mapping with `rate`, `burst`, `by`, "
        "`cost`, `on_error`, or a `Policy`.",
        _rate_limits,
    )
    RATE_LIMIT_DEFAULT: Setting[Sequence[str]] = Setting(
        ("anon", "user"), "Policies of every request, beside those that its view names.", sequence_of_strings
    )
    RATE_LIMIT_FAILURES: Setting[str | None] = Setting(
        "30/min", "Failed authentications from one address; None does not limit them.", _rate_or_none
    )
    RATE_LIMIT_FLOOD: Setting[str | None] = Setting(
        None, "Requests from one address, asked before anything else: `'6000/min'`.", _rate_or_none
    )
    RATE_LIMIT_STORE: ImportSetting[Any] = ImportSetting(
        "dovetail_contract.ratelimit.stores.MemoryStore",
        "Where counts are kept: in each process, or `dovetail_contract.contrib.redis.RedisStore`.",
        _callable,
    )
    RATE_LIMIT_LOCATION = Setting("", "The Redis of `RedisStore`: `redis://127.0.0.1:6379/1`.", _text)
    RATE_LIMIT_ON_ERROR = Setting(
        "local",
        "While the counts are away: `'local'` counts in each process, `'allow'` does not limit, `'deny'` answers 503.",
        one_of("local", "allow", "deny"),
    )
    RATE_LIMIT_MODE = Setting(
        "enforce", "`'shadow'` logs what would be refused, and lets it through.", one_of("enforce", "shadow")
    )
    DEPRECATIONS: Setting[Mapping[str, Mapping[str, Any]]] = Setting(
        {},
        "What becomes of paths: `{'/api/v1/': {'since': '2026-11-01T00:00:00Z', 'sunset': …, 'link': …}}`.",
        _deprecations,
    )
    VERSIONS: Setting[Mapping[str, Mapping[str, Any]]] = Setting(
        {},
        "The versions there are, by their part of the path: `{'v1': {'status': 'deprecated', 'deprecated_at': …, "
        "'sunset_at': …, 'successor': 'v2'}, 'v2': {}}`; empty tells nothing of versions.",
        _versions,
    )
    DEPRECATED_USAGE: ImportSetting[Any] = ImportSetting(
        "dovetail_contract.usage.log",
        "Who is given the counts of deprecated operations in use: a function of a list of `Usage`; None counts none.",
        _callable_or_none,
    )
    DEPRECATED_USAGE_SECONDS = Setting(
        60, "At most how often, in each process, those counts are given.", positive_integer
    )
    IDEMPOTENCY_MODEL = Setting(
        "dovetail_contract.IdempotencyRecord",
        "The model of idempotency records: ours, or a subclass of `AbstractIdempotencyRecord`.",
        model_label,
    )
    IDEMPOTENCY_DEFAULT = Setting(
        "optional",
        "Whether views that say nothing take an `Idempotency-Key`: `'off'`, `'optional'` or `'required'`.",
        one_of("off", "optional", "required"),
    )
    IDEMPOTENCY_METHODS: Setting[Sequence[str]] = Setting(
        ("POST", "PUT"), "The methods whose key is heeded.", sequence_of_strings
    )
    IDEMPOTENCY_LEASE_SECONDS = Setting(
        60,
        "Seconds after which a request that was not answered counts as dead; more than a worker may take.",
        positive_integer,
    )
    IDEMPOTENCY_RECOVER: ImportSetting[Any] = ImportSetting(
        None,
        "Who is asked what became of external work that did not end, where its view names nobody: a function of the "
        "request and the record.",
        _callable_or_none,
    )
    IDEMPOTENCY_RETENTION_HOURS = Setting(24, "Hours for which a key is remembered.", positive_integer)
    IDEMPOTENCY_MAX_BYTES = Setting(262_144, "The largest answer that is kept to be given again.", positive_integer)


conf = ContractSettings()
