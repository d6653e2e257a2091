"""As the README tells a project to: the package's pages for its own models."""

from __future__ import annotations

from django.contrib import admin

from dovetail_tenancy.admin import MembershipAdmin, OrganizationAdmin
from tests.tenancy.own.models import Membership, Organization

admin.site.register(Organization, OrganizationAdmin)
admin.site.register(Membership, MembershipAdmin)
