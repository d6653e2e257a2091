from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.utils.module_loading import import_string

from dovetail_apikeys.restrictions.rates import RATE_EXAMPLE, parse_rate
from dovetail_apikeys.restrictions.scope_names import validate_names
from dovetail_core.conf import REQUIRED, AppSettings, ImportSetting, Setting, model_label

#: The longest time in seconds for which a rotated key stays valid. A leaked key is revoked, not rotated.
LONGEST_GRACE: Final = 7 * 24 * 60 * 60
#: In days.
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
    """The object that a dotted path names; any other value as it is."""
    return import_string(value) if isinstance(value, str) else value


class APIKeysSettings(AppSettings, prefix="API_KEYS_", app_label="dovetail_apikeys"):
    ORGANIZATION_MODEL: Setting[str] = Setting(
        REQUIRED,
        "The model that owns keys: tenancy's organization, a model of your own, or the user model.",
        model_label,
        hint=_ORGANIZATION_HINT,
    )
    MODEL = Setting(
        "dovetail_apikeys.APIKey", "The model of keys: ours, or a subclass of `AbstractAPIKey`.", model_label
    )
    BRAND = Setting("dvt", "The first part of a key: your product in a few letters.", _word)
    ENVIRONMENT = Setting("live", "The second part of a key: `live`, `test`, `staging`.", _word)
    FORMER_BRANDS: Setting[Sequence[str]] = Setting((), "Earlier brands whose keys stay valid.", _words)
    HEADER = Setting(
        "X-API-Key", "The header that carries a key, besides `Authorization: Bearer`; empty for none.", _header
    )
    SCOPES: Setting[Mapping[str, str]] = Setting(
        {}, "Scopes that keys can have, with a description of each; `register_scopes()` adds to them.", _scopes
    )
    CACHE_TTL = Setting(
        0,
        "Seconds for which a process accepts a verified key without a query. A revocation takes effect at once in the "
        "process that revokes, and within this time in others.",
        _seconds,
    )
    LAST_USED_INTERVAL = Setting(60, "Seconds between two updates of `last_used`; 0 never updates it.", _seconds)
    ROTATION_GRACE = Setting(
        86400, "Seconds for which a rotated key stays valid, unless the call passes `grace`.", _grace
    )
    EXPIRY_NOTICE_DAYS = Setting(
        14, "Days before a key's expiry at which `announce_expiring_keys` emits `api_key.expiring`.", _days
    )
    RATE = Setting("", f"The rate of one key for `APIKeyRateThrottle`, such as {RATE_EXAMPLE}.", _rate)
    ORGANIZATION_RATE = Setting(
        "",
        f"The rate of all keys of one organization for `OrganizationRateThrottle`, such as {RATE_EXAMPLE}.",
        _rate,
    )
    VERIFIERS: Setting[Sequence[Any]] = Setting(
        (), "Verifiers of imported keys: `dovetail_apikeys.verification.verifiers.Knox` and others.", _imports
    )
    CONDITION: ImportSetting[Any] = ImportSetting(
        None,
        "A function that returns a `Q` that a key must also match, such as `Q(organization__is_active=True)`. Called "
        "once, when the query is compiled. By default, keys of people require an active user.",
        _hook,
    )
    PRINCIPAL: ImportSetting[Any] = ImportSetting(
        "dovetail_apikeys.principal.APIKeyPrincipal",
        "Returns `request.user` for `request.auth`. `dovetail_apikeys.principal.owner` and `creator` return a user.",
        _callable,
    )
    ORGANIZATION_RESOLVER: ImportSetting[Any] = ImportSetting(
        "dovetail_apikeys.principal.organization_of",
        "A function `(request)` that returns the owner of the managed keys: an organization, its primary key, or None.",
        _callable,
    )
    PERMISSION_CLASSES: Setting[Sequence[Any]] = Setting(
        ("dovetail_apikeys.api.permissions.ManagesAPIKeys",),
        "The permissions of the endpoints that manage keys.",
        _imports,
    )
    PAGINATION_CLASS: ImportSetting[Any] = ImportSetting(
        "dovetail_core.rest.pagination.KeysetPagination", "The paginator of the list of keys."
    )


conf = APIKeysSettings()
