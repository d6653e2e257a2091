from __future__ import annotations

from django.contrib import admin

from dovetail_identity.admin import UserAdmin
from tests.identity.own_users.models import Customer


@admin.register(Customer)
class CustomerAdmin(UserAdmin):
    fieldsets = (*UserAdmin.fieldsets, (None, {"fields": ("loyalty_points",)}))
