from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from rest_framework.test import APIClient

from dovetail_core import attempts
from dovetail_core.events import Event, domain_event
from tests.identity.hashers import CountingHasher

# test_own_user_projects.py and test_parallel.py run these in separate processes.
collect_ignore = ["own_user_project", "parallel"]
if os.environ["DJANGO_SETTINGS_MODULE"] != "tests.identity.settings":
    collect_ignore.clear()


@pytest.fixture(autouse=True)
def _no_attempts() -> Iterator[None]:
    attempts.reset()
    yield
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
def hashes() -> type[CountingHasher]:
    """Counts password hashes in ``calls``; set it to 0 first."""
    return CountingHasher
