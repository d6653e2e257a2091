from __future__ import annotations

from dovetail_tenancy.models import TenantForeignKey, TenantModel
from tests.tenancy.lending.world import define

define(__name__, "lending", base=TenantModel, foreign_key=TenantForeignKey)
