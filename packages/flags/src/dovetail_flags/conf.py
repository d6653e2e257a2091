from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.utils.module_loading import import_string

from dovetail_core.conf import (
    AppSettings,
    ImportSetting,
    Setting,
    callable_object,
    integer,
    model_label,
    one_of,
    optional_callable,
    sequence_of_strings,
)
from dovetail_flags.types.declaration import Declared, declaration_problem

DATABASE_PROVIDER: Final = "dovetail_flags.providers.database.DatabaseProvider"


def imported(value: object) -> Any:
    """Import the object if ``value`` is a dotted path, and return any other value unchanged."""
    return import_string(value) if isinstance(value, str) else value


def _seconds(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 3600:
        raise ValueError("must be a number of seconds from 0 to 3600")


def _options(value: object) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) and name.isidentifier() for name in value):
        raise ValueError("must be a dict of keyword arguments of FLAGS_PROVIDER")


def _declared(value: object) -> None:
    if not isinstance(value, Mapping):
        raise ValueError("must be a dict of keys and their Declared(…)")
    for key, declared in value.items():
        if not isinstance(declared, Declared):
            raise ValueError(f"must be a dict of keys and their Declared(…); {key!r} is {declared!r}")
        if problem := declaration_problem(key, declared):
            raise ValueError(f"must be valid: {problem}")


def _imports(value: object) -> None:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError("must be a list or tuple of classes or their dotted paths")
    for path in value:
        try:
            imported(path)
        except ImportError as error:
            raise ValueError(f"must be a list of importable classes: {error}") from error


class FlagsSettings(AppSettings, prefix="FLAGS_", app_label="dovetail_flags"):
    FLAG_MODEL = Setting("dovetail_flags.Flag", "The model of flags, a subclass of `AbstractFlag`.", model_label)
    PROVIDER: ImportSetting[Any] = ImportSetting(
        DATABASE_PROVIDER,
        "The class or function that returns the provider of flags, such as `dovetail_flags.contrib.unleash.provider`.",
        callable_object,
    )
    PROVIDER_OPTIONS: Setting[Mapping[str, Any]] = Setting({}, "Keyword arguments of `FLAGS_PROVIDER`.", _options)
    CONTEXT: ImportSetting[Any] = ImportSetting(
        "dovetail_flags.evaluation.context.default_context",
        "A function `(request)` that returns the targeting key, a string or None, and a dict of attributes. The "
        "request is None outside of requests. Values that a client can choose let it choose its flags.",
        callable_object,
    )
    REFRESH_SECONDS: Setting[float] = Setting(
        5, "Seconds for which a process uses its flags without a query; 0 queries at each request.", _seconds
    )
    INVALIDATION: ImportSetting[Any] = ImportSetting(
        None,
        "A class or function that returns the channel which tells other processes of a change at once, such as "
        "`dovetail_flags.contrib.redis.RedisInvalidation`.",
        optional_callable,
    )
    INVALIDATION_LOCATION = Setting("", "The URL of Redis for `RedisInvalidation`, such as `redis://localhost:6379/0`.")
    DECLARED: Setting[Mapping[str, Declared]] = Setting(
        {}, "The flags that the code uses, as `{key: Declared(type, default=…)}`; `declare()` adds to them.", _declared
    )
    UNKNOWN = Setting(
        "default",
        "What the evaluation of a flag does that is neither stored nor declared: `default` returns the default, "
        "`raise` raises `UnknownFlag`, for development and tests.",
        one_of("default", "raise"),
    )
    EXPOSURE: ImportSetting[Any] = ImportSetting(
        None,
        "A function `(key, details, context)` that is called for each evaluation, for the analysis of experiments.",
        optional_callable,
    )
    CLIENT_ATTRIBUTES: Setting[Sequence[str]] = Setting(
        (), "The attributes that OFREP clients may send. Others are ignored.", sequence_of_strings
    )
    PERMISSION_CLASSES: Setting[Sequence[Any]] = Setting(
        ("rest_framework.permissions.IsAuthenticated",),
        "The permission classes of the endpoints that evaluate flags.",
        _imports,
    )
    PAGINATION_CLASS: ImportSetting[Any] = ImportSetting(
        "dovetail_core.rest.pagination.KeysetPagination", "The pagination class of the list of flags."
    )
    STALE_DAYS = Setting(30, "Days without a change after which a temporary flag is stale.", integer(1, 3650, "days"))


conf = FlagsSettings()
