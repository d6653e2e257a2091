from __future__ import annotations

from dovetail_tenancy.testing import as_tenant  # noqa: F401
