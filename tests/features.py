from __future__ import annotations

from typing import Any

import pytest
from django.db import connections


@pytest.fixture(autouse=True, scope="session")
def json_support_is_known(django_db_setup: None, django_db_blocker: Any) -> None:
    """Checks of models with JSON ask SQLite once whether it knows any; in which test must not depend on their order."""
    with django_db_blocker.unblock():
        for connection in connections.all():
            assert connection.features.supports_json_field
