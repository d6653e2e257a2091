"""The routes of a project, the attributes of its views and the dotted paths of classes, for checks and the doctor."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.urls import URLPattern, URLResolver, get_resolver


@dataclass(frozen=True)
class Route:
    path: str
    callback: Any
    arguments: tuple[str, ...] = ()
    #: The names of the URLconf modules that lead to the route, and their app names.
    modules: tuple[str, ...] = ()
    app_names: tuple[str, ...] = ()


def routes() -> Iterator[Route]:
    """Yield all routes of ``ROOT_URLCONF``, none without it. This imports the views, which can raise any exception.

    Entries that are no routes are skipped, because Django's check ``urls.E004`` reports them.
    """
    if getattr(settings, "ROOT_URLCONF", None):
        yield from _routes(get_resolver(), Route("", None))


def _routes(resolver: URLResolver, parent: Route) -> Iterator[Route]:
    modules = (*parent.modules, getattr(resolver.urlconf_module, "__name__", ""))
    app_names = (*parent.app_names, resolver.app_name or "")
    patterns: Iterable[Any] = resolver.url_patterns
    for pattern in patterns:
        if not isinstance(pattern, URLPattern | URLResolver):
            continue
        path = parent.path + str(pattern.pattern).lstrip("^")
        arguments = (*parent.arguments, *pattern.pattern.regex.groupindex)
        route = Route(path, getattr(pattern, "callback", None), arguments, modules, app_names)
        if isinstance(pattern, URLResolver):
            yield from _routes(pattern, route)
        else:
            yield route


def declared(view: object, name: str, default: Any = None) -> Any:
    """Return the attribute ``name`` as a view class, or the result of ``as_view()``, declares it.

    ``as_view(…)`` and ``@action(…)`` override the attribute. Return ``default`` for a property, which may raise any
    exception without a request.
    """
    initkwargs = getattr(view, "initkwargs", None) or {}
    if name in initkwargs:
        return initkwargs[name]
    value = inspect.getattr_static(getattr(view, "cls", view), name, default)
    return default if hasattr(type(value), "__get__") else value


def classes_of(view: object, name: str) -> tuple[Any, ...]:
    """Return the declared classes in the attribute ``name`` of a view, such as ``"throttle_classes"``."""
    classes = declared(view, name)
    return tuple(classes) if isinstance(classes, list | tuple) else ()


def base_paths(item: object) -> list[str]:
    """Return the dotted paths of a class and its bases, nearest first."""
    bases = item.__mro__ if isinstance(item, type) else ()
    return [path_of(base) for base in bases]


def path_of(item: object) -> str:
    return f"{getattr(item, '__module__', '')}.{getattr(item, '__qualname__', '')}"
