from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Info, Warning  # noqa: A004  # Django's names
from django.db import connections, router

from dovetail_apikeys import get_api_key_model, principal
from dovetail_apikeys.base import AbstractAPIKey
from dovetail_apikeys.conf import conf
from dovetail_apikeys.restrictions.scopes import declared_scopes, unknown_scopes
from dovetail_core.inspection import routes

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
    required = {field.name for field in AbstractAPIKey._meta.local_fields}
    missing = required - {field.name for field in model._meta.get_fields()}
    if missing:
        yield Error(
            f"API_KEYS_MODEL is {model._meta.label}, which lacks the fields {', '.join(sorted(missing))}.",
            hint="Inherit from dovetail_apikeys.base.AbstractAPIKey.",
            obj=model,
            id="dovetail_apikeys.E002",
        )


def check_principal(**_: Any) -> Iterator[CheckMessage]:
    if conf.PRINCIPAL is principal.owner and not _users_own_keys():
        yield Error(
            "API_KEYS_PRINCIPAL returns the owner of a key as the user, but the owner is a row of "
            f"{conf.ORGANIZATION_MODEL}.",
            hint=f"Remove API_KEYS_PRINCIPAL, or set API_KEYS_ORGANIZATION_MODEL to {get_user_model()._meta.label!r}.",
            id="dovetail_apikeys.E003",
        )


def check_scopes(**_: Any) -> Iterator[CheckMessage]:
    from dovetail_apikeys.api.permissions import required_scopes

    list(routes())  # imports the views, whose permissions have scopes
    if unknown := unknown_scopes(required_scopes):
        yield Error(
            f"Views require scopes that are not declared: {', '.join(unknown)}.",
            hint="Declare them in API_KEYS_SCOPES or with register_scopes(). The declared scopes are: "
            f"{', '.join(declared_scopes())}.",
            id="dovetail_apikeys.E004",
        )


def check_resolver(**_: Any) -> Iterator[CheckMessage]:
    # Not by resolving a path, because a project may include the URLs under any prefix.
    served = any("dovetail_apikeys" in route.app_names for route in routes())
    if served and conf.ORGANIZATION_RESOLVER is principal.organization_of and not _users_own_keys():
        yield Info(
            "Users cannot manage API keys at the endpoints, because API_KEYS_ORGANIZATION_RESOLVER does not return an "
            "organization for them.",
            hint="Set API_KEYS_ORGANIZATION_RESOLVER to the dotted path of a function that takes the request and "
            "returns the user's organization.",
            id="dovetail_apikeys.I001",
        )


def check_members(**_: Any) -> Iterator[CheckMessage]:
    if conf.REVOKE_WITH_MEMBER is True and conf.IS_MEMBER is None:
        yield Error(
            "API_KEYS_REVOKE_WITH_MEMBER is True, but API_KEYS_IS_MEMBER is not set. A key that is created while the "
            "membership of its creator ends would stay.",
            hint="Set API_KEYS_IS_MEMBER to the dotted path of a function (organization_id, user_id) that returns "
            "whether the user is a member.",
            id="dovetail_apikeys.E006",
        )


def check_format(**_: Any) -> Iterator[CheckMessage]:
    if conf.BRAND in {"sk", "rk", "pk"} and conf.ENVIRONMENT in {"live", "test", "prod"}:
        yield Warning(
            f"Keys begin with {conf.BRAND}_{conf.ENVIRONMENT}_, the prefix of Stripe's keys. Secret scanners report "
            "them as Stripe's.",
            hint="Set API_KEYS_BRAND to a brand of your own. If keys have been issued, add the current brand to "
            "API_KEYS_FORMER_BRANDS.",
            id="dovetail_apikeys.W002",
        )


def check_order(**_: Any) -> Iterator[CheckMessage]:
    from dovetail_apikeys.api.authentication import APIKeyAuthentication
    from dovetail_core.rest.authentication import claimants_before

    for earlier, order in claimants_before(APIKeyAuthentication):
        yield Warning(
            f"{earlier} comes before APIKeyAuthentication and rejects Bearer tokens that it does not recognize. API "
            "keys in the Authorization header get a 401 response.",
            hint=f"Set REST_FRAMEWORK['DEFAULT_AUTHENTICATION_CLASSES'] to {order}. APIKeyAuthentication ignores other "
            "Bearer tokens.",
            id="dovetail_apikeys.W003",
        )


def check_throttle(**_: Any) -> Iterator[CheckMessage]:
    from rest_framework.settings import api_settings

    from dovetail_apikeys.api.throttling import APIKeyRateThrottle

    backend = settings.CACHES.get("default", {}).get("BACKEND", "")
    throttles: list[Any] = list(api_settings.DEFAULT_THROTTLE_CLASSES)
    if backend in _NOT_ATOMIC and any(issubclass(throttle, APIKeyRateThrottle) for throttle in throttles):
        yield Warning(
            f"APIKeyRateThrottle counts requests in the default cache, but {backend} does not increment atomically.",
            hint="Use Redis or Memcached. The local-memory cache works for a single process.",
            id="dovetail_apikeys.W004",
        )


def check_database(*, databases: Sequence[str] | None = None, **_: Any) -> Iterator[CheckMessage]:
    """Report a change of ``API_KEYS_ORGANIZATION_MODEL`` after ``migrate``, which migrations do not detect."""
    model = get_api_key_model()
    alias = router.db_for_write(model)
    if alias not in (databases or ()):
        return
    field = model._meta.get_field("organization")
    expected = field.related_model._meta.db_table
    connection = connections[alias]
    with connection.cursor() as cursor:
        if model._meta.db_table not in connection.introspection.table_names(cursor):
            return
        constraints = connection.introspection.get_constraints(cursor, model._meta.db_table).values()
    targets = [constraint["foreign_key"] for constraint in constraints if constraint["columns"] == [field.column]]
    for table in {target[0] for target in targets if target} - {expected}:
        yield Error(
            f"API_KEYS_ORGANIZATION_MODEL is {conf.ORGANIZATION_MODEL} (table {expected}), but in the database "
            f"{alias!r} the foreign key of API keys references {table}.",
            hint="Restore the previous value of the setting, or migrate dovetail_apikeys to zero and back.",
            id="dovetail_apikeys.E005",
        )


def _users_own_keys() -> bool:
    return get_user_model()._meta.label == conf.ORGANIZATION_MODEL
