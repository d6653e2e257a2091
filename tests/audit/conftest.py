from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from tests import asynchronous  # noqa: F401  # threads close their connections

# Tests in other processes.
collect_ignore = ["parallel"]
if os.environ["DJANGO_SETTINGS_MODULE"] != "tests.audit.settings":
    collect_ignore.clear()


@pytest.fixture(autouse=True)
def _no_refusals() -> Iterator[None]:
    """The counts of refused requests are those of the process."""
    from dovetail_audit.entries.refusals import limiter

    limiter.counts.clear()
    yield
    limiter.counts.clear()


@pytest.fixture
def user(db: None) -> Any:
    return get_user_model().objects.create_user("ada", email="ada@example.com", password="hunter22")
