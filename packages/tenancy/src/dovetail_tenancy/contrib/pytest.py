"""Loaded by pytest where the package is installed."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any) -> Generator[None, Any, Any]:
    """Let pytest-django create the test database: it serializes every model's (no) rows through the base manager."""
    if fixturedef.argname != "django_db_setup":
        return (yield)
    from dovetail_tenancy.isolation.scope import unscoped

    with unscoped(reason="test database creation"):
        return (yield)
