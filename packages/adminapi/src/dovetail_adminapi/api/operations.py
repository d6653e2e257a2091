"""The operations of the admin API: what each route and method is called, and which permission it requires."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.views import APIView

from dovetail_core.conf import cached_until_settings_change

#: In place of a permission: the operation requires any permission that another operation requires.
ANY: Final = "*"
#: Handlers that are no operations. HEAD is the operation of GET, and OPTIONS is refused.
_NO_OPERATIONS: Final = frozenset({"head", "options"})


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of a route. ``permission`` is None if none is declared, so that nobody may call it."""

    name: str
    section: str
    method: str
    action: str
    permission: str | None
    reauthenticate: bool = False
    #: The names of the fields of the body that records show. None: all that hold no secret.
    parameters: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class RoutedOperation:
    """An operation with its path in this URLconf, such as ``/admin/v1/users/{pk}``."""

    path: str
    operation: Operation
    view: Any
    #: The path as the URLconf has it, such as ``admin/v1/users/<str:pk>``.
    route: str


def admin_of(callback: Any) -> Mapping[str, Any]:
    """Return the attribute ``admin`` of a view: of its class, overridden by ``as_view(admin=…)``, ``@action(admin=…)``
    and the function of ``@api_view``. Members of its parts are merged."""
    merged: dict[str, Any] = {}
    sources = (
        getattr(callback.cls, "admin", None),
        (getattr(callback, "initkwargs", None) or {}).get("admin"),
        vars(callback).get("admin"),
    )
    for source in sources:
        for part, value in source.items() if isinstance(source, Mapping) else ():
            is_both = isinstance(value, Mapping) and isinstance(merged.get(part), Mapping)
            merged[part] = {**merged[part], **value} if is_both else value
    return merged


def operations_of(callback: Any, section: str, route_name: str | None) -> dict[str, Operation]:
    """Return the operations of a route by method, such as ``GET``."""
    admin = admin_of(callback)
    base = _base(route_name or callback.cls.__name__, handlers := _handlers(callback))
    return {
        method.upper(): Operation(
            name=f"{base}.{action}",
            section=section,
            method=method.upper(),
            action=action,
            permission=_permission(_part(admin, "permissions").get(action)),
            reauthenticate=bool(_part(admin, "reauthenticate").get(action)),
            parameters=_parameters(_part(admin, "parameters").get(action)),
        )
        for method, action in handlers.items()
    }


def _handlers(callback: Any) -> dict[str, str]:
    """Return the actions of a view set by method; of another view, its methods themselves."""
    names = [name for name in callback.cls.http_method_names if name not in _NO_OPERATIONS]
    actions: Mapping[str, str] | None = getattr(callback, "actions", None)
    if actions is not None:
        return {name: actions[name] for name in names if name in actions}
    return {name: name for name in names if hasattr(callback.cls, name)}


def _base(name: str, handlers: Mapping[str, str]) -> str:
    """Return ``feature`` for the routes ``feature-list`` and ``feature-detail``, and for ``feature-enable``."""
    for ending in ("list", "detail", *handlers.values()):
        if name.endswith(f"-{ending.replace('_', '-')}"):
            return name[: -len(ending) - 1]
    return name


def _part(admin: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = admin.get(name)
    return part if isinstance(part, Mapping) else {}


def _permission(value: object) -> str | None:
    # Anything else, such as AllowAny or an empty text, declares no permission.
    return value if isinstance(value, str) and value else None


def _parameters(value: object) -> tuple[str, ...] | None:
    return tuple(map(str, value)) if isinstance(value, list | tuple | set | frozenset) else None


@cached_until_settings_change
def registry(urlconf: str | None = None) -> tuple[RoutedOperation, ...]:
    """Return the operations of all guarded routes of ``urlconf``, by default ``ROOT_URLCONF``, in the order of URLs."""
    return tuple(walk(get_resolver(urlconf).url_patterns))


def walk(patterns: Iterable[Any], prefix: str = "") -> Iterator[RoutedOperation]:
    """Yield the operations of all guarded routes among ``patterns`` and below."""
    for pattern in patterns:
        path = prefix + str(pattern.pattern).removeprefix("^")
        if isinstance(pattern, URLResolver):
            yield from walk(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern):
            view = getattr(pattern.callback, "cls", None)
            listed: Mapping[str, Operation] = getattr(view, "admin_operations", {})
            if getattr(view, "admin", {}).get("listed", True):
                yield from (RoutedOperation(_template(path), operation, view, path) for operation in listed.values())


def _template(path: str) -> str:
    """Return ``/users/{pk}`` for ``users/<str:pk>``."""
    text = path.replace("\\Z", "").replace("$", "")
    while "<" in text:
        before, _, rest = text.partition("<")
        name, _, after = rest.partition(">")
        text = f"{before}{{{name.rpartition(':')[2]}}}{after}"
    return f"/{text.lstrip('/')}"


@cached_until_settings_change
def permissions(urlconf: str | None = None) -> frozenset[str]:
    """Return all permissions that operations of ``urlconf`` require."""
    required = {item.operation.permission for item in registry(urlconf)}
    return frozenset(permission for permission in required if permission is not None and permission != ANY)


def is_rest_view(callback: Any) -> bool:
    view = getattr(callback, "cls", None)
    return isinstance(view, type) and issubclass(view, APIView)
