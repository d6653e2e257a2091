"""Requests of one signed-in user, each rolled back after its response."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from asgiref.sync import async_to_sync
from django.apps import apps
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import connections, transaction
from rest_framework.test import APIClient

#: The statuses of a response for a row that is not the caller's, or for an endpoint that does not exist.
REFUSED = frozenset({401, 403, 404, 405, 410})
_READING = frozenset({"SELECT", "SAVEPOINT", "RELEASE", "ROLLBACK"})


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
    """Collect the statements other than reads that run on the database."""
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
