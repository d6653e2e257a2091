from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from django.core.cache import cache

from dovetail_apikeys.verification.cache import cache as keys
from dovetail_apikeys.verification.usage import gate
from dovetail_core.events import Event, domain_event

# test_parallel.py runs these tests in a separate process.
collect_ignore = ["parallel"]
if os.environ["DJANGO_SETTINGS_MODULE"] != "tests.apikeys.settings":
    collect_ignore.clear()


@pytest.fixture(autouse=True)
def _clear_process_state() -> Iterator[None]:
    # Rate counts, verified keys, and recently recorded uses.
    yield
    cache.clear()
    keys.clear()
    gate.clear()


@pytest.fixture
def events() -> Iterator[list[Event]]:
    seen: list[Event] = []

    def receive(event: Event, **kwargs: object) -> None:
        seen.append(event)

    domain_event.connect(receive)
    yield seen
    domain_event.disconnect(receive)
