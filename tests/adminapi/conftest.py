from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from dovetail_core.events import Event, domain_event
from tests import asynchronous  # noqa: F401  # threads close their connections

# test_parallel.py runs these tests in a separate process.
collect_ignore = ["parallel"]
if os.environ["DJANGO_SETTINGS_MODULE"] == "tests.adminapi.settings_on_file":
    collect_ignore.clear()


@pytest.fixture
def events() -> Iterator[list[Event]]:
    seen: list[Event] = []

    def receive(event: Event, **kwargs: object) -> None:
        seen.append(event)

    domain_event.connect(receive)
    yield seen
    domain_event.disconnect(receive)
