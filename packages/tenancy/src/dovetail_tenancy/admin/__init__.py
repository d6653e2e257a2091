"""The admin site: organizations, memberships and invitations, and the base classes for a project's tenant models."""

from __future__ import annotations

from django.contrib import admin

from dovetail_tenancy.admin.organizations import InvitationAdmin, MembershipAdmin, OrganizationAdmin
from dovetail_tenancy.admin.tenant_models import TenantAdmin, TenantForm, TenantStackedInline, TenantTabularInline
from dovetail_tenancy.models import Invitation, Membership, Organization

__all__ = [
    "InvitationAdmin",
    "MembershipAdmin",
    "OrganizationAdmin",
    "TenantAdmin",
    "TenantForm",
    "TenantStackedInline",
    "TenantTabularInline",
]

admin.site.register(Invitation, InvitationAdmin)
if not Organization._meta.swapped:
    admin.site.register(Organization, OrganizationAdmin)
if not Membership._meta.swapped:
    admin.site.register(Membership, MembershipAdmin)
