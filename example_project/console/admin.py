"""Groups of staff, recorded in the audit log with their permissions."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin
from django.contrib.auth.models import Group

from dovetail_audit.admin import AuditModelAdmin

admin.site.unregister(Group)


@admin.register(Group)
class AuditedGroupAdmin(AuditModelAdmin, GroupAdmin):
    pass
