"""The managers and querysets of tenant models, for projects that derive their own."""

from __future__ import annotations

from dovetail_tenancy.isolation.querysets import TenantManager, TenantQuerySet

__all__ = ["TenantManager", "TenantQuerySet"]
