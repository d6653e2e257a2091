from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connection

from dovetail_audit.testing import reset_denial_limits
from dovetail_contract.testing import held_to_schema, reset_rate_limits
from dovetail_core import attempts
from dovetail_core.mail import attempt
from tests.composed import factories
from tests.composed.processes import RULES, run
from tests.composed.servers import forget_queue
from tests.composed.settings import EXAMPLE_PROJECT, TEST_BROKER_URL
from tests.features import json_support_is_known  # noqa: F401


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> Iterator[None]:
    """On PostgreSQL, connect the suite and its programs with a role to which row security applies."""
    if connection.vendor != "postgresql":
        yield
        return
    from tests.roles import plain_login

    with plain_login(connection.settings_dict, bypass=settings.TENANCY_BYPASS_ROLE):
        yield
        connection.close()


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    # Limits are counted in Redis if it is configured, else in the process.
    _forget_counts()
    yield
    _forget_counts()


def _forget_counts() -> None:
    cache.clear()
    reset_rate_limits()
    reset_denial_limits()
    attempts.reset()


@pytest.fixture(autouse=True)
def _answers_are_as_documented() -> Iterator[None]:
    with held_to_schema(RULES):
        yield


@pytest.fixture(autouse=True)
def _invited_people_are_notified_during_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    # A thread does not see the rows of the test's transaction.
    monkeypatch.setattr("console.receivers.in_background", attempt)


@pytest.fixture
def organization(db: None) -> Any:
    return factories.organization()


@pytest.fixture
def owner(organization: Any) -> Any:
    return organization.owner


@pytest.fixture
def api(owner: Any) -> Any:
    return factories.client(owner)


@contextmanager
def served_database(folder: Path, template: str | None = None) -> Iterator[str]:
    """Yield the URL of a database for other processes, of the lane's vendor: empty, or a copy of ``template``."""
    if connection.vendor == "sqlite":
        path = folder / "served.sqlite3"
        if template is not None:
            shutil.copy(template.removeprefix("sqlite:///"), path)
        yield f"sqlite:///{path}"
        return
    import psycopg

    database = connection.settings_dict
    address = f"{database['USER']}@{database['HOST']}:{database['PORT'] or 5432}"
    if database["PASSWORD"]:
        address = address.replace("@", f":{database['PASSWORD']}@", 1)
    name = f"dovetail_served_{uuid4().hex[:12]}"
    url = urlsplit(f"postgres://{address}/{name}")
    with psycopg.connect(urlunsplit(url._replace(scheme="postgresql", path="/postgres")), autocommit=True) as server:
        source = f" TEMPLATE {urlsplit(template).path[1:]}" if template else ""
        server.execute(f"CREATE DATABASE {name}{source}")
        # The rows are needed only during the test, so commits do not wait for the disk.
        server.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
        yield urlunsplit(url)
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_url(tmp_path: Path, django_db_modify_db_settings: None) -> Iterator[str]:
    """An empty database for other processes, which cannot see the test database."""
    with served_database(tmp_path) as url:
        yield url


@pytest.fixture(scope="session")
def _demo_template(tmp_path_factory: pytest.TempPathFactory, django_db_modify_db_settings: None) -> Iterator[str]:
    with served_database(tmp_path_factory.mktemp("demo")) as url:
        code = """
import django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("seed_demo")
"""
        development = {"DJANGO_SETTINGS_MODULE": "example_project.settings", "DJANGO_DEBUG": "true"}
        done = run("-c", code, DATABASE_URL=url, **development)
        assert done.returncode == 0, done.stderr
        yield url


@pytest.fixture
def demo_database_url(tmp_path: Path, _demo_template: str) -> Iterator[str]:
    """A migrated database with the demo data, for tests that do not test migrations."""
    with served_database(tmp_path, _demo_template) as url:
        yield url


@pytest.fixture
def with_broker() -> Iterator[dict[str, str]]:
    """The variables of a service that uses the lane's broker with a separate queue."""
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
