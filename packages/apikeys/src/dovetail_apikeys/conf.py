from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.utils.module_loading import import_string

from dovetail_apikeys.networks import RATE_EXAMPLE, parse_rate
from dovetail_apikeys.scopes import validate_names
from dovetail_core.conf import REQUIRED, AppSettings, ImportSetting, Setting, model_label

#: Overlap of a rotated key and its successor at most. A leaked key is revoked, not rotated.
LONGEST_GRACE: Final = 7 * 24 * 60 * 60
LONGEST_NOTICE: Final = 366

_ORGANIZATION_HINT = (
    "Name the model whose rows own the keys: 'dovetail_tenancy.Organization', a model of your own such as "
    "'companies.Company', or what AUTH_USER_MODEL names, for keys of people."
)


def _word(value: object) -> None:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z][a-z0-9]{0,11}", value):
        raise ValueError("must be 1 to 12 lower-case letters and digits, a letter first")


def _words(value: object) -> None:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError("must be a list or tuple of brands")
    for each in value:
        _word(each)


def _header(value: object) -> None:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9-]*", value):
        raise ValueError("must be a header's name such as 'X-API-Key', or empty for none")


def _seconds(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError("must be a number of seconds, 0 for none")


def _grace(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LONGEST_GRACE:
        raise ValueError(f"must be a whole number of seconds from 0 to {LONGEST_GRACE}")


def _days(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LONGEST_NOTICE:
        raise ValueError(f"must be a whole number of days from 1 to {LONGEST_NOTICE}")


def _scopes(value: object) -> None:
    if not isinstance(value, Mapping):
        raise ValueError("must be a dict of scopes and their descriptions, such as {'invoices:read': 'Read invoices'}")
    validate_names(value)


def _rate(value: object) -> None:
    if value != "" and (not isinstance(value, str) or parse_rate(value) is None):
        raise ValueError(f"must be a rate such as {RATE_EXAMPLE}, or empty for no limit")


def _callable(value: object) -> None:
    if not callable(value):
        raise ValueError("must be a function or a class, or its dotted path")


def _hook(value: object) -> None:
    if value is not None and not callable(value):
        raise ValueError("must be None, a function or its dotted path")


def _imports(value: object) -> None:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError("must be a list or tuple of classes or their dotted paths")
    for each in value:
        try:
            imported(each)
        except ImportError as error:
            raise ValueError(f"must name what can be imported: {error}") from error


def imported(value: Any) -> Any:
    """An object, or the one that a dotted path names."""
    return import_string(value) if isinstance(value, str) else value


class APIKeysSettings(AppSettings, prefix="API_KEYS_", app_label="dovetail_apikeys"):
    ORGANIZATION_MODEL: Setting[str] = Setting(
        REQUIRED,
        "The model whose rows own keys: tenancy's organization, one of your own, or the user model.",
        model_label,
        hint=_ORGANIZATION_HINT,
    )
    MODEL = Setting("dovetail_apikeys.APIKey", "The key: ours, or a subclass of `AbstractAPIKey`.", model_label)
    BRAND = Setting("dvt", "What keys begin with: your product in a few letters.", _word)
    ENVIRONMENT = Setting("live", "What comes next in a key: `live`, `test`, `staging`.", _word)
    FORMER_BRANDS: Setting[Sequence[str]] = Setting((), "Brands of keys that were made before and stay good.", _words)
    HEADER = Setting(
        "X-API-Key", "The header that takes a key beside `Authorization: Bearer`; empty for none.", _header
    )
    SCOPES: Setting[Mapping[str, str]] = Setting(
        {}, "Scopes that keys can have, and what each allows; `register_scopes()` adds to them.", _scopes
    )
    CACHE_TTL = Setting(
        0,
        "Seconds that a process may take a key for good without asking the database. Revocation holds at once in the "
        "process that revokes, and within this time in others.",
        _seconds,
    )
    LAST_USED_INTERVAL = Setting(60, "Seconds between two notes of a key's use; 0 keeps none.", _seconds)
    ROTATION_GRACE = Setting(86400, "Seconds that a rotated key stays good, unless the call says otherwise.", _grace)
    EXPIRY_NOTICE_DAYS = Setting(
        14, "Days before a key expires that `announce_expiring_keys` tells of it, by `api_key.expiring`.", _days
    )
    RATE = Setting("", f"Requests of one key under `APIKeyRateThrottle`, such as {RATE_EXAMPLE}.", _rate)
    ORGANIZATION_RATE = Setting(
        "",
        f"Requests of one organization's keys together under `OrganizationRateThrottle`, such as {RATE_EXAMPLE}.",
        _rate,
    )
    VERIFIERS: Setting[Sequence[Any]] = Setting(
        (), "What recognizes keys that were imported: `dovetail_apikeys.verifiers.Knox` and others.", _imports
    )
    CONDITION: ImportSetting[Any] = ImportSetting(
        None,
        "A function that returns a `Q` over the key which must hold as well, such as "
        "`Q(organization__is_active=True)`. Asked once, when the query is compiled. Default: none; for keys of people, "
        "that the person is active.",
        _hook,
    )
    PRINCIPAL: ImportSetting[Any] = ImportSetting(
        "dovetail_apikeys.principal.APIKeyPrincipal",
        "What makes `request.user` of `request.auth`. `dovetail_apikeys.principal.owner` and `creator` give a user.",
        _callable,
    )
    ORGANIZATION_RESOLVER: ImportSetting[Any] = ImportSetting(
        "dovetail_apikeys.resolution.organization_of",
        "Whose keys the endpoints manage: `(request)`, returns an organization, its key, or None.",
        _callable,
    )
    PERMISSION_CLASSES: Setting[Sequence[Any]] = Setting(
        ("dovetail_apikeys.api.permissions.ManagesAPIKeys",), "Who may manage keys at the endpoints.", _imports
    )
    PAGINATION_CLASS: ImportSetting[Any] = ImportSetting(
        "dovetail_apikeys.api.pagination.CursorPagination", "The paginator of the list of keys."
    )


conf = APIKeysSettings()
