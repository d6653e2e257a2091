"""System checks. Those of operations walk the URLconf, so they see what a request would reach."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Warning  # noqa: A004  # Django's name
from rest_framework.settings import api_settings

from dovetail_adminapi.api.guard import THROTTLE_SCOPE
from dovetail_adminapi.api.operations import ANY, RoutedOperation, is_rest_view, registry
from dovetail_adminapi.api.wrapping import is_decorated
from dovetail_adminapi.catalogue.permissions import known_permissions
from dovetail_adminapi.conf import conf
from dovetail_adminapi.jobs import registry as jobs
from dovetail_adminapi.metrics.registry import registry as metrics
from dovetail_adminapi.resources import configuration
from dovetail_core.conf import cached_until_settings_change
from dovetail_core.events import domain_event
from dovetail_core.inspection import Route, path_of, routes

_ID: Final = "dovetail_adminapi"
_MIDDLEWARE: Final = "dovetail_adminapi.middleware.AdminAPIMiddleware"
#: Middleware that must come first: its user, and the log that stores the records.
_BEFORE: Final = (
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "dovetail_audit.middleware.AuditMiddleware",
)


def check_settings(**kwargs: Any) -> Iterator[CheckMessage]:
    yield from conf.check()
    for problem in configuration.problems():
        yield Error(problem, hint="The README lists the members of a resource.", id=f"{_ID}.E001")
    for resource, field in configuration.secret_fields():
        yield Error(
            f"ADMINAPI_RESOURCES[{resource!r}] lists the field {field!r}, whose name is that of a secret.",
            hint="Remove it from 'fields'. It is not shown in any case.",
            id=f"{_ID}.E010",
        )
    if conf.ROLE_CLAIM is not None and not conf.ROLE_ISSUERS:
        yield Error(
            "ADMINAPI_ROLE_CLAIM is set and ADMINAPI_ROLE_ISSUERS is empty, so that no token can claim a role.",
            hint="Set ADMINAPI_ROLE_ISSUERS to the values of 'iss' of your identity provider. Tokens of your customers "
            "must have another one.",
            id=f"{_ID}.E007",
        )
    if conf.THROTTLE is True and not (api_settings.DEFAULT_THROTTLE_RATES or {}).get(THROTTLE_SCOPE):
        yield Error(
            f"ADMINAPI_THROTTLE is True, and DEFAULT_THROTTLE_RATES has no rate {THROTTLE_SCOPE!r}.",
            hint=f"Set REST_FRAMEWORK['DEFAULT_THROTTLE_RATES']['{THROTTLE_SCOPE}'], such as '300/min'.",
            id=f"{_ID}.E009",
        )
    if conf.IMPERSONATION is True and conf.IMPERSONATION_CONSENT != "required":
        yield Warning(
            f"ADMINAPI_IMPERSONATION is True, and ADMINAPI_IMPERSONATION_CONSENT is {conf.IMPERSONATION_CONSENT!r}: "
            "administrators enter accounts of users without their consent.",
            hint="Set ADMINAPI_IMPERSONATION_CONSENT = 'required', or silence this check.",
            id=f"{_ID}.W006",
        )


def check_jobs(**kwargs: Any) -> Iterator[CheckMessage]:
    for problem in jobs.problems():
        yield Error(problem, hint="See the docstring of admin_job().", id=f"{_ID}.E008")


def check_metrics(**kwargs: Any) -> Iterator[CheckMessage]:
    for problem in metrics.problems():
        yield Error(problem, hint="See the docstring of Metric.", id=f"{_ID}.E011")


def check_operations(**kwargs: Any) -> Iterator[CheckMessage]:
    """E002 to E005: what the guard refuses to everybody."""
    views: dict[str, list[RoutedOperation]] = {}
    # By name: the guard makes a class for each route of a view.
    for item in _operations():
        views.setdefault(f"{item.view.__module__}.{item.view.__name__}", []).append(item)
    for name, items in views.items():
        yield from _check_view(name, items)
    for view in _closed_views():
        name = path_of(view.admin_source)
        yield Error(
            f"{name} in the section {view.admin_section!r} of the admin API is no view of REST framework, so it is "
            "closed to everybody.",
            hint="Make it a view of REST framework with the attribute 'admin', or move it out of the section.",
            id=f"{_ID}.E003",
        )


def _check_view(name: str, items: list[RoutedOperation]) -> Iterator[CheckMessage]:
    lacking = [item for item in items if item.operation.permission is None]
    if lacking:
        listed = ", ".join(f"{item.operation.action!r} ({item.operation.method} {item.path})" for item in lacking)
        yield Error(
            f"{name} declares no permission for {listed}, so nobody may call it.",
            hint=f"Set admin = {{'permissions': {{{lacking[0].operation.action!r}: 'app_label.codename'}}}} on the "
            "view, or remove the route.",
            id=f"{_ID}.E002",
        )
    if any(is_decorated(item.view.admin_source) for item in items):
        yield Error(
            f"{name} is decorated in the URLconf, and the guard drops the decorator.",
            hint="Decorate a method of the class: @method_decorator(…, name='list').",
            id=f"{_ID}.E003",
        )
    permissions = items[0].view.admin.get("permissions", {})
    for action, value in permissions.items() if isinstance(permissions, Mapping) else ():
        if not isinstance(value, str) or not value:
            yield Error(
                f"{name} declares {value!r} as the permission for {action!r}, which opens nothing.",
                hint="Name one permission as 'app_label.codename'. The admin API has no open operations.",
                id=f"{_ID}.E005",
            )


def check_permissions(**kwargs: Any) -> Iterator[CheckMessage]:
    """E004 and E006: permissions that nobody can have, because no model and no setting declares them."""
    known = known_permissions()
    declared = {(item.operation.permission, f"{item.view.__module__}.{item.view.__name__}") for item in _operations()}
    declared |= {(definition.permission, f"The job {definition.name!r}") for definition in jobs.definitions().values()}
    for permission, source in sorted((name, source) for name, source in declared if name not in (None, ANY)):
        if permission not in known:
            yield Error(
                f"{source} requires the permission {permission!r}, which does not exist.",
                hint="Add it to Meta.permissions of a model, or correct its name.",
                id=f"{_ID}.E004",
            )
    roles: object = conf.ROLES  # E001 reports other types
    for role, permissions in roles.items() if isinstance(roles, Mapping) else ():
        if isinstance(permissions, list | tuple | set) and (unknown := sorted(set(map(str, permissions)) - known)):
            yield Error(
                f"ADMINAPI_ROLES[{role!r}] has permissions that do not exist: {', '.join(unknown)}.",
                hint="Add them to Meta.permissions of a model, or correct their names.",
                id=f"{_ID}.E006",
            )


def check_middleware(**kwargs: Any) -> Iterator[CheckMessage]:
    if not _operations():
        return
    middleware = list(settings.MIDDLEWARE)
    if _MIDDLEWARE not in middleware:
        yield Warning(
            f"{_MIDDLEWARE} is not in MIDDLEWARE, so a refusal is not recorded if ATOMIC_REQUESTS rolls it back, and "
            "server errors lack the headers of the admin API.",
            hint="Add it at the end of MIDDLEWARE.",
            id=f"{_ID}.W002",
        )
        return
    late = [name for name in _BEFORE if name in middleware and middleware.index(name) > middleware.index(_MIDDLEWARE)]
    if late:
        yield Warning(
            f"{_MIDDLEWARE} comes before {', '.join(late)} in MIDDLEWARE, so records lack what these know.",
            hint="Put it after them.",
            id=f"{_ID}.W002",
        )


def _listeners() -> Iterator[CheckMessage]:
    if not apps.is_installed("dovetail_audit") and not _has_foreign_receiver():
        yield Warning(
            "Nobody listens to the events admin.succeeded, admin.denied and admin.failed, so calls of the admin API "
            "are only in the log 'dovetail.events'.",
            hint="Install dovetail-audit, connect a receiver to dovetail_core.events.domain_event, or store the log.",
            id=f"{_ID}.W004",
        )


def check_second_routes(**kwargs: Any) -> Iterator[CheckMessage]:
    """W005: a view of a section that another route reaches without the guard."""
    guarded = {getattr(item.view.admin_source, "cls", None): item.view.admin_section for item in _operations()}
    for route in _routes():
        view = getattr(route.callback, "cls", None)
        if view in guarded:
            yield Warning(
                f"{path_of(view)} of the section {guarded[view]!r} is also at {route.path}, without the guard of the "
                "admin API.",
                hint="Remove the other route. Its own permission classes are all that protects it.",
                id=f"{_ID}.W005",
            )


def check_cors(**kwargs: Any) -> Iterator[CheckMessage]:
    if not apps.is_installed("corsheaders") or not (operations := _operations()):
        return
    pattern = getattr(settings, "CORS_URLS_REGEX", r"^.*$")
    origins = set(getattr(settings, "CORS_ALLOWED_ORIGINS", ())) - set(conf.ORIGINS)
    allows = getattr(settings, "CORS_ALLOW_ALL_ORIGINS", False) or origins
    allows = allows or getattr(settings, "CORS_ALLOWED_ORIGIN_REGEXES", ())
    if allows and re.match(pattern, operations[0].path):
        yield Warning(
            f"CORS_URLS_REGEX allows pages of other origins to read {operations[0].path}.",
            hint="Exclude the path of the admin API from CORS_URLS_REGEX, or list the origin of your portal in "
            "ADMINAPI_ORIGINS and allow no other.",
            id=f"{_ID}.W007",
        )


def check_deployment(**kwargs: Any) -> Iterator[CheckMessage]:
    if not _operations():
        return
    yield from _listeners()
    if not conf.HOSTS and not conf.NETWORKS:
        yield Warning(
            "ADMINAPI_HOSTS and ADMINAPI_NETWORKS are empty, so the admin API is reachable wherever the project is.",
            hint="Serve it on a host or to networks of its own: ADMINAPI_HOSTS = ['admin.example.com'].",
            id=f"{_ID}.W003",
        )
    if not hasattr(settings, "ADMINAPI_SUPERUSERS"):
        yield Info(
            "Superusers may call every declared operation of the admin API.",
            hint="Confirm it with ADMINAPI_SUPERUSERS = True. With False, they have only the permissions that they are "
            "granted otherwise.",
            id=f"{_ID}.I001",
        )


def _operations() -> tuple[RoutedOperation, ...]:
    """Return the operations of ``ROOT_URLCONF``; none without one, or if it cannot be imported."""
    return _safely(registry) if getattr(settings, "ROOT_URLCONF", None) else ()


@cached_until_settings_change
def _routes() -> tuple[Route, ...]:
    return _safely(lambda: tuple(routes()))


def _safely(read: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
    try:
        return read()
    except Exception:  # noqa: BLE001  # a URLconf may raise any exception, which Django's own check reports
        return ()


def _closed_views() -> Iterator[Any]:
    for route in _routes():
        source = getattr(getattr(route.callback, "cls", None), "admin_source", None)
        if source is not None and not is_rest_view(source):
            yield route.callback.cls


def _has_foreign_receiver() -> bool:
    receivers = domain_event._live_receivers(None)[0]
    return any(not getattr(item, "__module__", "").startswith("dovetail_") for item in receivers)
