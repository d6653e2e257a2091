from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from django.utils.module_loading import import_string

from dovetail_core.conf import (
    REQUIRED,
    AppSettings,
    ImportSetting,
    Setting,
    boolean,
    callable_object,
    integer,
    model_label,
    one_of,
    optional_callable,
    sequence_of_strings,
)

#: The longest time in seconds for which a rotated key stays valid. A leaked key is revoked, not rotated.
LONGEST_GRACE: Final = 7 * 24 * 60 * 60
RATE_EXAMPLE: Final = "`600/min`"

_RATE: Final = re.compile(r"([1-9][0-9]{0,8})/(s|sec|second|m|min|minute|h|hour|d|day)")
_RATE_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SCOPE: Final = re.compile(r"[a-z][a-z0-9_.-]*:[a-z][a-z0-9_.-]*")


def parse_rate(rate: str) -> tuple[int, int] | None:
    """Return the number of requests and of seconds: ``(600, 60)`` for ``600/min``. None for an invalid rate."""
    match = _RATE.fullmatch(rate)
    return (int(match[1]), _RATE_SECONDS[match[2][0]]) if match else None


def validate_scope_names(names: Iterable[object]) -> None:
    """Raise ``ValueError`` for a name that is not ``resource:action``."""
    for name in names:
        if not isinstance(name, str) or not _SCOPE.fullmatch(name):
            raise ValueError(f"must name scopes as 'resource:action' in lower case; {name!r} is not such a name")


def imported(value: object) -> Any:
    """Import the object if ``value`` is a dotted path, and return any other value unchanged."""
    return import_string(value) if isinstance(value, str) else value


def _brand(value: object) -> None:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z][a-z0-9]{0,11}", value):
        raise ValueError("must be 1 to 12 lower-case letters and digits, beginning with a letter")


def _brands(value: Sequence[object]) -> None:
    sequence_of_strings(value)
    for brand in value:
        _brand(brand)


def _header(value: object) -> None:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9-]*", value):
        raise ValueError("must be the name of a header such as 'X-API-Key', or empty to disable it")


def _seconds(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError("must be a number of seconds, or 0 to disable it")


def _scopes(value: object) -> None:
    if not isinstance(value, Mapping):
        raise ValueError("must be a dict of scopes and their descriptions, such as {'invoices:read': 'Read invoices'}")
    validate_scope_names(value)


def _rate(value: object) -> None:
    if value != "" and (not isinstance(value, str) or parse_rate(value) is None):
        raise ValueError(f"must be a rate such as {RATE_EXAMPLE}, or empty for no limit")


def _imports(value: object) -> None:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError("must be a list or tuple of classes or their dotted paths")
    for path in value:
        try:
            imported(path)
        except ImportError as error:
            raise ValueError(f"must be a list of importable classes: {error}") from error


class APIKeysSettings(AppSettings, prefix="API_KEYS_", app_label="dovetail_apikeys"):
    ORGANIZATION_MODEL: Setting[str] = Setting(
        REQUIRED,
        "The model whose rows own keys: tenancy's organization, a model of your project, or the user model.",
        model_label,
        hint="Set it to the model whose rows own the keys: 'dovetail_tenancy.Organization', a model of your project "
        "such as 'companies.Company', or the value of AUTH_USER_MODEL if users own keys.",
    )
    MODEL = Setting("dovetail_apikeys.APIKey", "The model of keys, a subclass of `AbstractAPIKey`.", model_label)
    BRAND = Setting("dvt", "The first part of a key: a short name of your product.", _brand)
    ENVIRONMENT = Setting("live", "The second part of a key: `live`, `test`, `staging`.", _brand)
    FORMER_BRANDS: Setting[Sequence[str]] = Setting((), "Earlier brands whose keys stay valid.", _brands)
    ACCEPT = Setting(
        "declared",
        "The views where a key authenticates, if the class is in `DEFAULT_AUTHENTICATION_CLASSES`: `declared`, the "
        "views that declare scopes or list the class themselves; `everywhere`, all views.",
        one_of("declared", "everywhere"),
    )
    HEADER = Setting("X-API-Key", "A header for keys, besides `Authorization: Bearer`; empty to disable it.", _header)
    SCOPES: Setting[Mapping[str, str]] = Setting(
        {}, "The scopes that keys can have, with their descriptions; `register_scopes()` adds to them.", _scopes
    )
    CACHE_TTL = Setting(
        0,
        "Seconds for which a process accepts a verified key without a query. A revocation takes effect immediately in "
        "the process that revokes the key, and within this time in other processes.",
        _seconds,
    )
    LAST_USED_INTERVAL = Setting(60, "Seconds between two updates of `last_used`; 0 disables the updates.", _seconds)
    ROTATION_GRACE = Setting(
        86400,
        "Seconds for which a rotated key stays valid, unless the call passes `grace`.",
        integer(0, LONGEST_GRACE, "seconds"),
    )
    EXPIRY_NOTICE_DAYS = Setting(14, "Days before expiry when `api_key.expiring` is emitted.", integer(1, 366, "days"))
    RATE = Setting("", f"The rate limit of each key for `APIKeyRateThrottle`, such as {RATE_EXAMPLE}.", _rate)
    ORGANIZATION_RATE = Setting("", "The rate limit of each organization for `OrganizationRateThrottle`.", _rate)
    VERIFIERS: Setting[Sequence[Any]] = Setting(
        (), "Verifiers of imported keys, such as `dovetail_apikeys.verification.verifiers.Knox`.", _imports
    )
    CONDITION: ImportSetting[Any] = ImportSetting(
        None,
        "A function that returns a `Q` that a key must also match, such as `Q(organization__is_active=True)`. Called "
        "once, when the query is compiled. By default, keys of users require an active user.",
        optional_callable,
    )
    PRINCIPAL: ImportSetting[Any] = ImportSetting(
        None,
        "Returns `request.user` for `request.auth`: `dovetail_apikeys.principal.owner` and `creator` return a user, "
        "`APIKeyPrincipal` the key. By default, `owner` if users own keys, else `APIKeyPrincipal`.",
        optional_callable,
    )
    ORGANIZATION_RESOLVER: ImportSetting[Any] = ImportSetting(
        "dovetail_apikeys.principal.organization_of",
        "A function `(request)` that returns the owner of the managed keys: an organization, its primary key, or None.",
        callable_object,
    )
    REVOKE_WITH_MEMBER = Setting(
        False,
        "Whether keys are revoked when the membership of their creator ends (the event `member.removed`). By default "
        "they stay, because they belong to the organization, and `api_key.creator_left` names each.",
        boolean,
    )
    IS_MEMBER: ImportSetting[Any] = ImportSetting(
        None,
        "A function `(organization_id, user_id)` that returns whether the user is a member, for "
        "`API_KEYS_REVOKE_WITH_MEMBER`.",
        optional_callable,
    )
    PERMISSION_CLASSES: Setting[Sequence[Any]] = Setting(
        ("dovetail_apikeys.api.permissions.ManagesAPIKeys",),
        "The permission classes of the endpoints that manage keys.",
        _imports,
    )
    PAGINATION_CLASS: ImportSetting[Any] = ImportSetting(
        "dovetail_core.rest.pagination.KeysetPagination", "The pagination class of the list of keys."
    )


conf = APIKeysSettings()
