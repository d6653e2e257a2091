"""The endpoints of a URLconf: its routes and their methods."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from django.urls import Resolver404, URLPattern, URLResolver, get_resolver, resolve
from django.utils.regex_helper import normalize

METHODS = ("get", "post", "put", "patch", "delete")
_ENDS = ("\\Z", "\\z", "$")


@dataclass(frozen=True)
class Route:
    text: str
    """The path as the project writes it: ``documents/<uuid:pk>/``."""
    template: str
    """The path with ``%(pk)s`` for its arguments."""
    arguments: tuple[str, ...]
    callback: Callable[..., Any]
    urlconf: str | None

    @property
    def view_class(self) -> Any:
        return getattr(self.callback, "cls", None) or getattr(self.callback, "view_class", None)

    @property
    def methods(self) -> tuple[str, ...]:
        view, allowed = self.view_class, getattr(self.callback, "actions", None)
        if not allowed and inspect.isclass(view):
            names = [method.lower() for method in getattr(view, "http_method_names", METHODS)]
            allowed = [method for method in names if hasattr(view, method)]
        return METHODS if allowed is None else tuple(method for method in METHODS if method in allowed)

    def path(self, values: Mapping[str, Any]) -> str | None:
        """Return the path with these values, or None if it would resolve to another endpoint."""
        path = "/" + self.template % values
        try:
            match = resolve(path, self.urlconf)
        except (Resolver404, ValueError):
            return None
        return path if match.func is self.callback and match.kwargs.keys() >= set(self.arguments) else None


@dataclass(frozen=True)
class Endpoint:
    route: Route
    method: str

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.route.text}"

    @property
    def form(self) -> bool:
        """Whether a body is sent as a form, because the view is not one of REST framework's."""
        return not hasattr(self.route.callback, "cls")


def routes(urlconf: str | ModuleType | None = None) -> Iterator[Route]:
    """Yield the routes in order, without the variants that take a ``format`` suffix."""
    name = urlconf.__name__ if isinstance(urlconf, ModuleType) else urlconf
    for text, regex, pattern in _walk(get_resolver(name), "", ""):
        template, arguments = normalize(regex)[0]
        if "format" not in arguments:
            yield Route(text, template, tuple(arguments), pattern.callback, name)


def _walk(resolver: URLResolver, text: str, regex: str) -> Iterator[tuple[str, str, URLPattern]]:
    for pattern in resolver.url_patterns:
        own_regex = pattern.pattern.regex.pattern
        for end in _ENDS:
            own_regex = own_regex.removesuffix(end)
        full_text, full_regex = text + str(pattern.pattern), regex + own_regex.removeprefix("^")
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern, full_text, full_regex)
        else:
            yield full_text, full_regex, pattern
