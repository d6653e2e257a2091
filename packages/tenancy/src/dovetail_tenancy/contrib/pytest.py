"""A pytest plugin, loaded by its entry point wherever the package is installed."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any) -> Generator[None, Any, Any]:
    """Let pytest-django create the test database, which reads every model's rows through its base manager."""
    if fixturedef.argname != "django_db_setup":
        return (yield)
    from dovetail_tenancy.isolation.scope import unscoped

    with unscoped(reason="test database creation"):
        return (yield)
