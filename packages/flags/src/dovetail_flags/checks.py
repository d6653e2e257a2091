from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Warning  # noqa: A004  # Django's names
from django.db import DatabaseError, router
from django.utils.module_loading import import_string

from dovetail_core.inspection import routes
from dovetail_flags.base import AbstractFlag, get_flag_model
from dovetail_flags.conf import DATABASE_PROVIDER, conf
from dovetail_flags.evaluation.declared import declared_flags
from dovetail_flags.evaluation.decorators import used_keys
from dovetail_flags.lifecycle.stale import stale
from dovetail_flags.lifecycle.templates import keys_in_templates
from dovetail_flags.types.declaration import DECLARATIONS
from dovetail_flags.types.kinds import PYTHON_TYPES, accepts

_MIDDLEWARE: Final = "dovetail_flags.middleware.FlagsMiddleware"
_METHODS: Final = ("details", "keys", "health", "pin", "refresh", "expire", "arefresh", "token", "close")


def check_settings(**_: Any) -> list[CheckMessage]:
    return conf.check()


def _are_valid(*names: str) -> bool:
    """Return whether no setting has E001, so that another check can read its value."""
    declared = conf.declared()
    return not any(declared[name].problem() for name in names)


def _missing_fields() -> set[str]:
    required = {field.name for field in AbstractFlag._meta.local_fields}
    return required - {field.name for field in get_flag_model()._meta.get_fields()}


def check_model(**_: Any) -> Iterator[CheckMessage]:
    if not _are_valid("FLAG_MODEL"):
        return
    model = get_flag_model()
    if missing := _missing_fields():
        yield Error(
            f"FLAGS_FLAG_MODEL is {model._meta.label}, which lacks the fields {', '.join(sorted(missing))}.",
            hint="Inherit from dovetail_flags.base.AbstractFlag.",
            obj=model,
            id="dovetail_flags.E002",
        )


def check_provider(**_: Any) -> Iterator[CheckMessage]:
    """Examine a provider that is a class. A function is called at the first evaluation only: it may connect."""
    if not _are_valid("PROVIDER"):
        return
    provider = conf.PROVIDER
    if isinstance(provider, type) and (missing := [name for name in _METHODS if not hasattr(provider, name)]):
        yield Error(
            f"FLAGS_PROVIDER is {provider.__module__}.{provider.__qualname__}, which lacks the methods "
            f"{', '.join(missing)}.",
            hint="Inherit from dovetail_flags.providers.base.Provider.",
            id="dovetail_flags.E003",
        )


def check_invalidation(**_: Any) -> Iterator[CheckMessage]:
    if (
        _are_valid("INVALIDATION")
        and getattr(conf.INVALIDATION, "requires_location", False)
        and not conf.INVALIDATION_LOCATION
    ):
        yield Error(
            "FLAGS_INVALIDATION is RedisInvalidation, but FLAGS_INVALIDATION_LOCATION is empty.",
            hint="Set it to the URL of Redis, such as 'redis://localhost:6379/0'.",
            id="dovetail_flags.E005",
        )


def check_declared(**_: Any) -> Iterator[CheckMessage]:
    if not _are_valid("DECLARED"):
        return
    declared = conf.DECLARED
    for key in sorted(DECLARATIONS.keys() & declared.keys()):
        if DECLARATIONS[key] != declared[key]:
            yield Error(
                f"FLAGS_DECLARED and declare() differ for the flag {key!r}: {declared[key]} and {DECLARATIONS[key]}.",
                hint="Keep one of them.",
                id="dovetail_flags.E004",
            )


def check_used(**_: Any) -> Iterator[CheckMessage]:
    # Our own views cannot be imported without the model.
    if not _are_valid("DECLARED", "FLAG_MODEL"):
        return
    list(routes())  # imports the views, whose decorators and permissions have keys
    for key in sorted(used_keys - declared_flags().keys()):
        yield Warning(
            f"Views require the flag {key!r}, which is not declared. While it does not exist, it is off.",
            hint="Declare it in FLAGS_DECLARED or with declare(); `manage.py flags sync` creates it.",
            id="dovetail_flags.W002",
        )


def check_templates(**_: Any) -> Iterator[CheckMessage]:
    """Compare the keys in templates, if the project declares flags at all."""
    if not _are_valid("DECLARED") or not (declared := declared_flags()):
        return
    for key, names in sorted(keys_in_templates().items()):
        if key not in declared:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            yield Warning(
                f"Templates use the flag {key!r}, which is not declared: {', '.join(names[:3])}{more}. While it does "
                "not exist, it is off.",
                hint="Declare it in FLAGS_DECLARED or with declare(); `manage.py flags sync` creates it.",
                id="dovetail_flags.W002",
            )


def check_middleware(**_: Any) -> Iterator[CheckMessage]:
    if _MIDDLEWARE in settings.MIDDLEWARE:
        return
    if settings.ASGI_APPLICATION if hasattr(settings, "ASGI_APPLICATION") else False:
        yield Warning(
            "FlagsMiddleware is not in MIDDLEWARE. In async views, evaluations use flags that are never read again.",
            hint=f"Add {_MIDDLEWARE!r} to MIDDLEWARE, after AuthenticationMiddleware.",
            id="dovetail_flags.W003",
        )


def check_refresh(*, databases: Sequence[str] | None = None, **_: Any) -> Iterator[CheckMessage]:
    if not _are_valid("FLAG_MODEL", "REFRESH_SECONDS", "PROVIDER"):
        return
    if conf.REFRESH_SECONDS or conf.PROVIDER is not import_string(DATABASE_PROVIDER):
        return
    number = _count(get_flag_model()._base_manager.all(), databases)
    if number > 100:
        yield Warning(
            f"FLAGS_REFRESH_SECONDS is 0, and there are {number} flags: each request queries, and each change makes "
            "it read all of them.",
            hint="Set it to 1 or more seconds.",
            id="dovetail_flags.W004",
        )


def check_types(*, databases: Sequence[str] | None = None, **_: Any) -> Iterator[CheckMessage]:
    """Compare the types of declared and stored flags.

    A difference is no error, because an error stops ``migrate``: anyone who may create flags could stop a deployment.
    """
    if not _are_valid("FLAG_MODEL", "DECLARED") or _missing_fields():
        return
    declared = declared_flags()
    rows = get_flag_model()._base_manager.filter(key__in=declared, archived_at=None).order_by("key")
    for key, kind in _read(rows, databases, lambda rows: list(rows.values_list("key", "type"))) or ():
        if not accepts(PYTHON_TYPES[kind], declared[key].default):
            yield Warning(
                f"The flag {key!r} is of the type {kind}, but declared as {declared[key].kind}: each evaluation "
                "returns its default.",
                hint="Declare its type, or use another key: the type of a flag cannot change.",
                id="dovetail_flags.W005",
            )


def check_stale(*, databases: Sequence[str] | None = None, **_: Any) -> Iterator[CheckMessage]:
    if not _are_valid("FLAG_MODEL", "STALE_DAYS") or _missing_fields():
        return
    if number := _count(get_flag_model()._base_manager.filter(stale()), databases):
        subject = "1 flag is" if number == 1 else f"{number} flags are"
        yield Info(
            f"{subject} expired, or temporary and unchanged for {conf.STALE_DAYS} days.",
            hint="`manage.py flags stale` lists them. Remove them from the code and archive them.",
            id="dovetail_flags.I001",
        )


def _count(rows: Any, databases: Sequence[str] | None) -> int:
    return int(_read(rows, databases, lambda rows: rows.count()) or 0)


def _read(rows: Any, databases: Sequence[str] | None, read: Callable[[Any], Any]) -> Any:
    """Return what ``read`` does, or None before ``migrate`` and without the database."""
    alias = router.db_for_read(rows.model)
    if alias not in (databases or ()):
        return None
    try:
        return read(rows.using(alias))
    except DatabaseError:
        return None
