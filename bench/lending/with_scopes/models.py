from __future__ import annotations

import uuid
from typing import Any

from django.db import models
from django_scopes import ScopedManager

from tests.tenancy.lending.world import define


class Organization(models.Model):  # noqa: DJ008  # nobody looks at one
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=100)


class Owned(models.Model):
    organization: Any = models.ForeignKey(Organization, on_delete=models.CASCADE)
    objects = ScopedManager(organization="organization")

    class Meta:
        abstract = True


define(__name__, "with_scopes", base=Owned)
