from __future__ import annotations

import os
from typing import Any

import pytest
from rest_framework.test import APIClient

from tests.features import json_support_is_known  # noqa: F401
from tests.notify.factories import make_user

# Those of parallel/ run in a process of their own, with a database that several connections can open.
collect_ignore = [] if os.environ["DJANGO_SETTINGS_MODULE"] == "tests.notify.settings_on_file" else ["parallel"]


@pytest.fixture
def user(db: None) -> Any:
    return make_user()


@pytest.fixture
def api(user: Any) -> APIClient:
    client = APIClient()
    client.force_authenticate(user)
    return client
