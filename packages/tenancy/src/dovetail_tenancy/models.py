from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from dovetail_tenancy.base import AbstractMembership, AbstractOrganization
from dovetail_tenancy.fields import OrganizationForeignKey, TenantForeignKey
from dovetail_tenancy.managers import TenantManager, TenantQuerySet
from dovetail_tenancy.tenant_model import TenantModel

__all__ = [
    "Membership",
    "Organization",
    "OrganizationForeignKey",
    "TenantForeignKey",
    "TenantManager",
    "TenantModel",
    "TenantQuerySet",
]


class Organization(AbstractOrganization):
    members = models.ManyToManyField(
        settings.AUTH_USER_MODEL,
        through=settings.TENANCY_MEMBERSHIP_MODEL,
        through_fields=("organization", "user"),
        verbose_name=_("members"),
        related_name="+",
    )

    class Meta(AbstractOrganization.Meta):
        swappable = "TENANCY_ORGANIZATION_MODEL"


class Membership(AbstractMembership):
    class Meta(AbstractMembership.Meta):
        swappable = "TENANCY_MEMBERSHIP_MODEL"
