from __future__ import annotations

from dovetail_tenancy.models import TenantForeignKey, TenantModel, TenantOneToOneField
from tests.tenancy.lending.world import define

define(__name__, "lending", base=TenantModel, foreign_key=TenantForeignKey, one_to_one=TenantOneToOneField)
