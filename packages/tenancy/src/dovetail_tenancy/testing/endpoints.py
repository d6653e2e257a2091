"""The endpoints of a URLconf, and requests of one signed-in user to them, each rolled back after its response."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from asgiref.sync import async_to_sync
from django.apps import apps
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import connections, transaction
from django.urls import Resolver404, URLPattern, URLResolver, get_resolver, resolve
from django.utils.regex_helper import normalize
from rest_framework.test import APIClient

#: The statuses of a response for a row that is not the caller's, or for an endpoint that does not exist.
REFUSED = frozenset({401, 403, 404, 405, 410})
_READING = frozenset({"SELECT", "SAVEPOINT", "RELEASE", "ROLLBACK"})
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


@dataclass(frozen=True)
class Answer:
    status: int
    body: str

    @property
    def succeeded(self) -> bool:
        return self.status < 400

    def __str__(self) -> str:
        return f"{self.status} {self.body[:200]}".strip()


@contextmanager
def rolled_back(using: str) -> Iterator[None]:
    with transaction.atomic(using=using):
        yield
        transaction.set_rollback(True, using=using)


@contextmanager
def recorded_writes(using: str) -> Iterator[list[str]]:
    writes: list[str] = []

    def record(execute: Callable[..., Any], sql: object, *args: Any) -> Any:
        if str(sql).lstrip(" (").partition(" ")[0].upper() not in _READING:
            writes.append(str(sql))
        return execute(sql, *args)

    with connections[using].execute_wrapper(record):
        yield writes


def signed_in(user: AbstractBaseUser) -> APIClient:
    """Return a client with a session and a forced REST framework user, which works with any token scheme."""
    client = APIClient(raise_request_exception=False)
    if apps.is_installed("django.contrib.sessions"):
        client.force_login(user)  # type: ignore[arg-type]  # any user model
    client.force_authenticate(user)
    return client


def call(client: APIClient, method: str, path: str, body: object = None, *, form: bool = False) -> Answer:
    """Send one request and restore the client's cookies. The caller rolls the database back."""
    cookies = copy.copy(client.cookies)
    user = getattr(client.handler, "_force_user", None)
    if user is not None:
        # A copy, because an endpoint that deletes the account removes the key from the instance, which is shared.
        client.force_authenticate(copy.copy(user))
    try:
        response = _send(client, method, path, body, form=form)
        if response.status_code == 415 and not form:
            response = _send(client, method, path, body, form=True)
        return Answer(response.status_code, _text(response))
    finally:
        client.cookies = cookies
        if user is not None:
            client.force_authenticate(user)


def _send(client: APIClient, method: str, path: str, body: object, *, form: bool) -> Any:
    if body is None:
        return getattr(client, method)(path)
    if form and isinstance(body, dict):
        return client.get(path, body) if method == "get" else getattr(client, method)(path, body, format="multipart")
    return client.generic(method.upper(), path, json.dumps(body), content_type="application/json")


def _text(response: Any) -> str:
    if getattr(response, "exc_info", None):
        error = response.exc_info[1]
        return f"{type(error).__name__}: {error}"
    if not response.streaming:
        return str(response.content.decode(errors="replace"))
    content = response.streaming_content
    # Not asyncio.run: Django's synchronous code must stay in this thread, which has the transaction.
    parts = async_to_sync(_collect)(content) if response.is_async else content
    return b"".join(parts).decode(errors="replace")


async def _collect(content: AsyncIterator[bytes]) -> list[bytes]:
    return [part async for part in content]
