from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connection

from dovetail_contract.testing import reset_rate_limits
from tests.composed import factories
from tests.composed.servers import forget_queue
from tests.composed.settings import EXAMPLE_PROJECT, TEST_BROKER_URL
from tests.features import json_support_is_known  # noqa: F401


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> Iterator[None]:
    """On PostgreSQL the suite, and the programs it starts, connect by a role that row security binds."""
    if connection.vendor != "postgresql":
        yield
        return
    from tests.roles import plain_login

    with plain_login(connection.settings_dict, bypass=settings.TENANCY_BYPASS_ROLE):
        yield
        connection.close()


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    # With Redis the limits count in it, else in the process.
    cache.clear()
    reset_rate_limits()
    yield
    cache.clear()
    reset_rate_limits()


@pytest.fixture
def organization(db: None) -> Any:
    return factories.organization()


@pytest.fixture
def owner(organization: Any) -> Any:
    return organization.owner


@pytest.fixture
def api(owner: Any) -> Any:
    return factories.client(owner)


@pytest.fixture
def database_url(tmp_path: Path, django_db_modify_db_settings: None) -> Iterator[str]:
    """An empty database of the lane's kind for other processes, which do not see the tests' own."""
    if connection.vendor == "sqlite":
        yield f"sqlite:///{tmp_path / 'served.sqlite3'}"
        return
    import psycopg

    given = connection.settings_dict
    address = f"{given['USER']}@{given['HOST']}:{given['PORT'] or 5432}"
    if given["PASSWORD"]:
        address = address.replace("@", f":{given['PASSWORD']}@", 1)
    name = f"dovetail_served_{uuid4().hex[:12]}"
    url = urlsplit(f"postgres://{address}/{name}")
    with psycopg.connect(urlunsplit(url._replace(scheme="postgresql", path="/postgres")), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        yield urlunsplit(url)
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def with_broker() -> Iterator[dict[str, str]]:
    """The variables of a service whose tasks go through the lane's broker, by a queue of its own."""
    if not TEST_BROKER_URL:
        pytest.skip("no broker: CELERY_BROKER_URL names none")
    queue = f"dovetail_test_{uuid4().hex[:12]}"
    yield {
        "CELERY_BROKER_URL": TEST_BROKER_URL,
        "DJANGO_SETTINGS_MODULE": "tests.composed.queue_settings",
        "PYTHONPATH": f"{EXAMPLE_PROJECT.parent}:{EXAMPLE_PROJECT}",
        "TEST_QUEUE": queue,
    }
    forget_queue(TEST_BROKER_URL, queue)
