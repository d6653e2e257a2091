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
    from dovetail_audit.testing import reset_denial_limits

    reset_denial_limits()
    yield
    reset_denial_limits()


@pytest.fixture
def user(db: None) -> Any:
    return get_user_model().objects.create_user("ada", email="ada@example.com", password="hunter22")
