from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import cache
from rest_framework.test import APIClient

from dovetail_core import attempts
from dovetail_core.events import Event, domain_event

# test_parallel.py runs these tests in a separate process.
collect_ignore = ["parallel"]
if os.environ["DJANGO_SETTINGS_MODULE"] != "tests.magiclink.settings":
    collect_ignore.clear()


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    # It contains the counters of guesses and requests. The process has those of an unavailable cache.
    cache.clear()
    attempts.reset()
    yield
    cache.clear()
    attempts.reset()


@pytest.fixture
def client() -> APIClient:
    return APIClient()


@pytest.fixture
def events() -> Iterator[list[Event]]:
    seen: list[Event] = []

    def receive(event: Event, **kwargs: object) -> None:
        seen.append(event)

    domain_event.connect(receive)
    yield seen
    domain_event.disconnect(receive)


@pytest.fixture
def post(client: APIClient, django_capture_on_commit_callbacks: Any) -> Callable[..., Any]:
    """Post to ``magic/<path>/`` and run the hooks after commit. ``extra`` has values of the WSGI environment."""

    def send(path: str, body: Any = None, extra: dict[str, str] | None = None, **fields: Any) -> Any:
        with django_capture_on_commit_callbacks(execute=True):
            return client.post(f"/api/auth/magic/{path}/", fields if body is None else body, **(extra or {}))

    return send


@pytest.fixture
def user(db: None) -> Any:
    return get_user_model().objects.create_user("ada", email="Ada@Example.com", first_name="Ada")


@pytest.fixture
def ask(post: Callable[..., Any], settings: Any) -> Callable[..., str]:
    """Request a mail without request limits, and return the ``request_id``."""
    settings.MAGIC_LINK_REQUESTS_PER_ADDRESS = settings.MAGIC_LINK_REQUESTS_PER_NETWORK = ()

    def send(email: str = "ada@example.com", **extra: str) -> str:
        answer = post("request", email=email, extra=extra)
        assert answer.status_code == 202, answer.content
        return str(answer.json()["request_id"])

    return send


def wrong(code: str) -> str:
    """Return a different code."""
    return f"{(int(code) + 1) % 10**8:08}"
