from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Info, Warning  # noqa: A004  # Django's names
from django.db import connections, router
from django.http import HttpRequest
from django.urls import URLResolver, get_resolver
from django.utils.module_loading import import_string

from dovetail_apikeys import get_api_key_model, principal
from dovetail_apikeys.base import AbstractAPIKey
from dovetail_apikeys.conf import conf
from dovetail_apikeys.lifecycle.declared_scopes import declared_scopes, unknown_scopes

# Backends whose incr() reads and then writes, so that one of two simultaneous requests is not counted.
_NOT_ATOMIC = {
    "django.core.cache.backends.db.DatabaseCache",
    "django.core.cache.backends.dummy.DummyCache",
    "django.core.cache.backends.filebased.FileBasedCache",
}


def check_settings(**_: Any) -> list[CheckMessage]:
    return conf.check()


def check_model(**_: Any) -> Iterator[CheckMessage]:
    model = get_api_key_model()
    needed = {field.name for field in AbstractAPIKey._meta.local_fields}
    missing = needed - {field.name for field in model._meta.get_fields()}
    if missing:
        yield Error(
            f"{model._meta.label}, which API_KEYS_MODEL names, has no field {', '.join(sorted(missing))}.",
            hint="Inherit from dovetail_apikeys.base.AbstractAPIKey.",
            obj=model,
            id="dovetail_apikeys.E002",
        )


def check_principal(**_: Any) -> Iterator[CheckMessage]:
    if conf.PRINCIPAL is principal.owner and get_user_model()._meta.label != conf.ORGANIZATION_MODEL:
        yield Error(
            f"API_KEYS_PRINCIPAL takes the owner of a key for a user, but keys belong to {conf.ORGANIZATION_MODEL}.",
            hint=f"Leave it out, or set API_KEYS_ORGANIZATION_MODEL to {get_user_model()._meta.label!r}.",
            id="dovetail_apikeys.E003",
        )


def check_scopes(**_: Any) -> Iterator[CheckMessage]:
    from dovetail_apikeys.api.permissions import asked_scopes

    _load_urls()
    if unknown := unknown_scopes(asked_scopes):
        yield Error(
            f"Views ask for scopes that no key can have: {', '.join(unknown)}.",
            hint="Declare them in API_KEYS_SCOPES or with register_scopes(). Declared are: "
            f"{', '.join(declared_scopes())}.",
            id="dovetail_apikeys.E004",
        )


def check_resolver(**_: Any) -> Iterator[CheckMessage]:
    people = get_user_model()._meta.label == conf.ORGANIZATION_MODEL
    if conf.ORGANIZATION_RESOLVER is principal.organization_of and not people and _serves_keys():
        yield Info(
            "People cannot manage API keys at the endpoints, only keys can: nothing says which organization a person "
            "acts for.",
            hint="Set API_KEYS_ORGANIZATION_RESOLVER to the dotted path of a function (request) that returns it.",
            id="dovetail_apikeys.I001",
        )


def check_format(**_: Any) -> Iterator[CheckMessage]:
    if conf.BRAND in {"sk", "rk", "pk"} and conf.ENVIRONMENT in {"live", "test", "prod"}:
        yield Warning(
            f"Keys begin with {conf.BRAND}_{conf.ENVIRONMENT}_, as Stripe's do: secret scanners report them to Stripe, "
            "and to everybody as Stripe's.",
            hint="Set API_KEYS_BRAND to a word of your own; add the present one to API_KEYS_FORMER_BRANDS if keys have "
            "been given out.",
            id="dovetail_apikeys.W002",
        )


def check_order(**_: Any) -> Iterator[CheckMessage]:
    from rest_framework.settings import api_settings

    from dovetail_apikeys.api.authentication import APIKeyAuthentication

    classes: list[Any] = list(api_settings.DEFAULT_AUTHENTICATION_CLASSES)
    earlier: list[Any] = []
    for authentication in classes:
        if issubclass(authentication, APIKeyAuthentication):
            break
        earlier.append(authentication)
    else:
        return
    for authentication in earlier:
        if _takes_bearer(authentication):
            yield Warning(
                f"{authentication.__module__}.{authentication.__qualname__} stands before APIKeyAuthentication and "
                "refuses the Bearer tokens that it does not know: API keys are 401 unless they come in another header.",
                hint="Put dovetail_apikeys.api.authentication.APIKeyAuthentication first in "
                "REST_FRAMEWORK['DEFAULT_AUTHENTICATION_CLASSES']: it leaves other Bearer tokens alone.",
                id="dovetail_apikeys.W003",
            )


def check_throttle(**_: Any) -> Iterator[CheckMessage]:
    from rest_framework.settings import api_settings

    from dovetail_apikeys.api.throttling import APIKeyRateThrottle

    backend = settings.CACHES.get("default", {}).get("BACKEND", "")
    throttles: list[Any] = list(api_settings.DEFAULT_THROTTLE_CLASSES)
    if backend in _NOT_ATOMIC and any(issubclass(each, APIKeyRateThrottle) for each in throttles):
        yield Warning(
            f"APIKeyRateThrottle counts in the default cache, and {backend} does not count atomically.",
            hint="Use Redis or Memcached; the local-memory cache counts for one process.",
            id="dovetail_apikeys.W004",
        )


def check_database(*, databases: Sequence[str] | None = None, **_: Any) -> Iterator[CheckMessage]:
    """Migrations do not see a change of ``API_KEYS_ORGANIZATION_MODEL`` after ``migrate``; this check does."""
    model = get_api_key_model()
    alias = router.db_for_write(model)
    if alias not in (databases or ()):
        return
    field: Any = model._meta.get_field("organization")
    expected = field.related_model._meta.db_table
    connection = connections[alias]
    with connection.cursor() as cursor:
        if model._meta.db_table not in connection.introspection.table_names(cursor):
            return
        constraints = connection.introspection.get_constraints(cursor, model._meta.db_table)
    keys = [each["foreign_key"] for each in constraints.values() if each["columns"] == [field.column]]
    for table in {key[0] for key in keys if key} - {expected}:
        yield Error(
            f"API_KEYS_ORGANIZATION_MODEL names {conf.ORGANIZATION_MODEL} ({expected}), but in the database {alias!r} "
            f"keys belong to {table}.",
            hint="Set it back to the model of that table, or migrate dovetail_apikeys to zero and anew.",
            id="dovetail_apikeys.E005",
        )


def _takes_bearer(authentication: Any) -> bool:
    try:
        header = authentication().authenticate_header(HttpRequest())
    except Exception:  # noqa: BLE001  # a class of the project that needs more of a request; then there is nothing to report
        return False
    return bool(re.match(r"bearer\b", str(header or ""), re.IGNORECASE))


def _load_urls() -> None:
    # Views name their scopes when their modules are imported.
    if getattr(settings, "ROOT_URLCONF", None):
        import_string(f"{settings.ROOT_URLCONF}.urlpatterns")


def _serves_keys() -> bool:
    if not getattr(settings, "ROOT_URLCONF", None):
        return False
    # Not by resolving a path, because a project may include the URLs under any prefix.
    resolvers: list[Any] = [get_resolver()]
    while resolvers:
        resolver = resolvers.pop()
        if resolver.app_name == "dovetail_apikeys":
            return True
        resolvers += [pattern for pattern in resolver.url_patterns if isinstance(pattern, URLResolver)]
    return False
