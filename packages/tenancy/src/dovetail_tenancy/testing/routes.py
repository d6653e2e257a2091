"""Every endpoint of a URLconf, with the methods it answers."""

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
    """As the project wrote it: ``documents/<uuid:pk>/``."""
    template: str
    """With ``%(pk)s`` for its arguments."""
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
        """A plain function does not: whether it takes a method is seen by calling it."""
        return self.view_class is not None

    def path(self, values: dict[str, Any]) -> str | None:
        """The path with these values, or None where it would not come to this endpoint."""
        path = "/" + self.template % values
        try:
            found = resolve(path, self.urlconf)
        except (Resolver404, ValueError):
            return None
        return path if found.func is self.callback and found.kwargs.keys() >= set(self.arguments) else None


def routes(urlconf: Any = None) -> Iterator[Route]:
    """All of them, in order; of one that also takes a ``format`` suffix, the one without."""
    name = urlconf if urlconf is None or isinstance(urlconf, str) else urlconf.__name__
    for text, regex, pattern in _walk(get_resolver(name), "", ""):
        template, arguments = normalize(regex)[0]
        if "format" not in arguments:
            yield Route(text, template, tuple(arguments), pattern.callback, name)


def _walk(resolver: URLResolver, text: str, regex: str) -> Iterator[tuple[str, str, URLPattern]]:
    for each in resolver.url_patterns:
        here = regex + _open_ended(each.pattern.regex.pattern)
        written = text + str(each.pattern)
        if isinstance(each, URLResolver):
            yield from _walk(each, written, here)
        else:
            yield written, here, each


def _open_ended(regex: str) -> str:
    for end in _ENDS:
        regex = regex.removesuffix(end)
    return regex.removeprefix("^")
