"""Fixtures and assertions for the tests of projects. Import the fixtures into your ``conftest.py``.

``assert_isolated`` and ``assert_admin_isolated`` do not need pytest and work in Django's ``TestCase`` as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dovetail_tenancy.testing.isolation import Report, assert_isolated
from dovetail_tenancy.testing.rows import CannotMake, make_rows

if TYPE_CHECKING:
    from dovetail_tenancy.testing.admin_site import assert_admin_isolated
    from dovetail_tenancy.testing.fixtures import as_tenant, organization

__all__ = ["CannotMake", "Report", "as_tenant", "assert_admin_isolated", "assert_isolated", "make_rows", "organization"]


def __getattr__(name: str) -> Any:
    if name == "assert_admin_isolated":
        # A project may have no admin site.
        from dovetail_tenancy.testing.admin_site import assert_admin_isolated

        return assert_admin_isolated
    if name in ("as_tenant", "organization"):
        from dovetail_tenancy.testing import fixtures

        return getattr(fixtures, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
