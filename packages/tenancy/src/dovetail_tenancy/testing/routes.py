"""The endpoints of a URLconf, with their methods."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
        actions = getattr(self.callback, "actions", None)
        view = self.view_class
        if actions:
            return tuple(method for method in METHODS if method in actions)
        if inspect.isclass(view):
            allowed = [method.lower() for method in getattr(view, "http_method_names", METHODS)]
            return tuple(method for method in METHODS if method in allowed and hasattr(view, method))
        return METHODS

    @property
    def declares_methods(self) -> bool:
        """A plain function does not declare its methods; only a call shows which it accepts."""
        return self.view_class is not None

    def path(self, values: dict[str, Any]) -> str | None:
        """Return the path with these values, or None if it would resolve to another endpoint."""
        path = "/" + self.template % values
        try:
            match = resolve(path, self.urlconf)
        except (Resolver404, ValueError):
            return None
        return path if match.func is self.callback and match.kwargs.keys() >= set(self.arguments) else None


def routes(urlconf: Any = None) -> Iterator[Route]:
    """Yield the routes in order, without the variants that take a ``format`` suffix."""
    name = urlconf if urlconf is None or isinstance(urlconf, str) else urlconf.__name__
    for text, regex, pattern in _walk(get_resolver(name), "", ""):
        template, arguments = normalize(regex)[0]
        if "format" not in arguments:
            yield Route(text, template, tuple(arguments), pattern.callback, name)


def _walk(resolver: URLResolver, text: str, regex: str) -> Iterator[tuple[str, str, URLPattern]]:
    for pattern in resolver.url_patterns:
        full_regex = regex + _open_ended(pattern.pattern.regex.pattern)
        full_text = text + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern, full_text, full_regex)
        else:
            yield full_text, full_regex, pattern


def _open_ended(regex: str) -> str:
    for end in _ENDS:
        regex = regex.removesuffix(end)
    return regex.removeprefix("^")
