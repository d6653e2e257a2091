from __future__ import annotations

import uuid
from typing import Any

from django.db import models
from django_multitenant.fields import TenantForeignKey, TenantOneToOneField
from django_multitenant.models import TenantModel

from tests.tenancy.lending.world import define


class Organization(TenantModel):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=100)

    class TenantMeta:
        tenant_field_name = "id"


class Owned(TenantModel):
    organization: Any = models.ForeignKey(Organization, on_delete=models.CASCADE)

    class Meta:
        abstract = True

    class TenantMeta:
        tenant_field_name = "organization_id"


def foreign_key(to: Any, **kwargs: Any) -> Any:
    """The library's between its models; it refuses any other target."""
    return (TenantForeignKey if issubclass(to, TenantModel) else models.ForeignKey)(to, **kwargs)


define(__name__, "with_multitenant", base=Owned, foreign_key=foreign_key, one_to_one=TenantOneToOneField)
