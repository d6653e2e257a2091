from __future__ import annotations

from typing import Any

from django.db import models
from organizations.models import Organization

from tests.tenancy.lending.world import define

__all__ = ["Organization"]


class Owned(models.Model):
    organization: Any = models.ForeignKey(Organization, on_delete=models.CASCADE)

    class Meta:
        abstract = True


define(__name__, "with_organizations", base=Owned)
