"""Puts the guard on the views of a URLconf, which may know nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, Final

from django.http import HttpResponse
from django.urls import URLPattern, URLResolver
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSetMixin

from dovetail_adminapi.api.guard import AdminGuard
from dovetail_adminapi.api.operations import admin_of, is_rest_view, operations_of
from dovetail_adminapi.conf import conf, imported

#: Arguments of ``as_view()`` that would replace what the guard decides.
_GUARDED: Final = ("authentication_classes", "metadata_class", "permission_classes", "throttle_classes")
_MODES: Final = ("off", "optional", "required")


class ClosedView(APIView):
    """In place of a view that is not one of REST framework: 401 or 403 for everybody (E003)."""


def guarded_section(section: str, module: str) -> tuple[list[URLPattern | URLResolver], str | None]:
    """Return the guarded patterns of a module of URLs, and its ``app_name``."""
    urls = import_module(module)
    return guarded(urls.urlpatterns, section), getattr(urls, "app_name", None)


def guarded(patterns: Iterable[Any], section: str) -> list[URLPattern | URLResolver]:
    """Return patterns with the same paths and names, whose views are guarded."""
    return [_guarded(pattern, section) for pattern in patterns]


def _guarded(pattern: Any, section: str) -> URLPattern | URLResolver:
    if isinstance(pattern, URLResolver):
        inner = guarded(pattern.url_patterns, section)
        return URLResolver(pattern.pattern, inner, pattern.default_kwargs, pattern.app_name, pattern.namespace)
    view = guarded_view(pattern.callback, section, pattern.name)
    return URLPattern(pattern.pattern, view, pattern.default_args, pattern.name)


def guarded_view(callback: Callable[..., Any], section: str, name: str | None = None) -> Callable[..., HttpResponse]:
    """Return the view of ``callback`` behind the guard. Views of other kinds are closed.

    Decorators around the callback are dropped: one that caches responses would answer before the guard.
    """
    # Not in documents of the project. The own document describes the views below the guard.
    common: dict[str, Any] = {"admin_section": section, "admin_source": callback, "schema": None}
    if not is_rest_view(callback):
        closed: Any = type("ClosedView", (AdminGuard, ClosedView), common)
        return closed.as_view()  # type: ignore[no-any-return]  # of a class that mypy does not know
    view: Any = callback
    arguments = {
        key: value for key, value in (view.initkwargs or {}).items() if key not in _GUARDED and key != "schema"
    }
    contract = arguments.pop("contract", None) or getattr(view.cls, "contract", None) or {}
    admin = admin_of(view)
    arguments.pop("admin", None)
    attributes = {
        **common,
        "__module__": view.cls.__module__,
        "__doc__": view.cls.__doc__,
        "admin": admin,
        "admin_operations": (known := operations_of(view, section, name)),
        "admin_policy": admin.get("content_security_policy"),
        "authentication_classes": _authentication_classes(),
    }
    if contract or admin.get("idempotency"):
        modes = [admin.get("idempotency", {}).get(operation.action) for operation in known.values()]
        declared = [mode for mode in modes if mode in _MODES]
        attributes["contract"] = {**contract, **({"idempotency": declared[0]} if declared else {})}
    guarded_class: Any = type(view.cls.__name__, (AdminGuard, view.cls), attributes)
    wrapped = _as_view(guarded_class, getattr(view, "actions", None), arguments)
    if (aliases := getattr(callback, "_non_atomic_requests", None)) is not None:
        wrapped._non_atomic_requests = aliases
    return wrapped  # type: ignore[no-any-return]  # as_view() of a class that mypy does not know


def _as_view(view: Any, actions: Any, arguments: dict[str, Any]) -> Any:
    """Call ``as_view()`` of REST framework, and not one of the view, which may decorate its result."""
    if actions is None:
        return vars(APIView)["as_view"].__func__(view, **arguments)
    return vars(ViewSetMixin)["as_view"].__func__(view, actions, **arguments)


#: Where ``as_view()`` of REST framework, and ``csrf_exempt`` around it, define their functions.
_PLAIN: Final = ("rest_framework.viewsets", "django.views.generic.base", "django.views.decorators.csrf")


def is_decorated(callback: Any) -> bool:
    """Return whether a function around the result of ``as_view()`` may change requests or responses."""
    layer = callback
    while layer is not None and not isinstance(layer, type):
        # By its globals: functools.wraps() copies the name of the module.
        names = getattr(layer, "__globals__", {})
        if names.get("__name__") not in _PLAIN:
            return hasattr(layer, "__wrapped__")
        layer = getattr(layer, "__wrapped__", None)
    return False


def _authentication_classes() -> tuple[Any, ...]:
    classes = conf.AUTHENTICATION_CLASSES
    return tuple(APIView.authentication_classes if classes is None else map(imported, classes))
