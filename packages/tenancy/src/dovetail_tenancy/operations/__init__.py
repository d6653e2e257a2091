"""Migration operations for tables with existing rows, and for row-level security."""

from __future__ import annotations

from dovetail_tenancy.operations.add_organization import AddOrganization
from dovetail_tenancy.operations.enable_row_security import EnableRowSecurity
from dovetail_tenancy.operations.import_members import ImportMembers
from dovetail_tenancy.operations.retarget_foreign_key import RetargetForeignKey

__all__ = ["AddOrganization", "EnableRowSecurity", "ImportMembers", "RetargetForeignKey"]
