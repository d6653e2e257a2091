from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from dovetail_core.conf import AppSettings, Setting, one_of, positive_integer, sequence_of_strings


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
    TOTAL_MAX = Setting(
        1000,
        "Up to how many rows a list is counted for `Prefer: return=total-count`; beyond, `null`.",
        positive_integer,
    )


conf = ContractSettings()
