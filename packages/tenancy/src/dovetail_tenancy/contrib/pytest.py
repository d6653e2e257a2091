"""A pytest plugin, loaded by its entry point in every environment with this package."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
    """Let pytest-django create the test database, which reads the rows of all models through their base managers."""
    if fixturedef.argname != "django_db_setup":
        return (yield)
    from dovetail_tenancy.isolation.scope import unscoped

    with unscoped(reason="test database creation"):
        return (yield)
