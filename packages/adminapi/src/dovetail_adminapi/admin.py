"""Jobs and support accesses in Django's admin site, to read. The admin API changes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from dovetail_adminapi.models import Job, SupportAccess
from dovetail_adminapi.support.access import state_of
from dovetail_core.admin import LimitToOrganizations

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin


class ReadOnlyAdmin(LimitToOrganizations, _ModelAdmin):
    organization_field = "organization_key"
    # By time, with an index.
    ordering = ("-pk",)
    # Otherwise the admin counts all rows for each page.
    show_full_result_count = False
    #: The models have no permissions of Django's own: those of the admin API apply here too.
    view_permission: ClassVar[str]

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.has_perm(self.view_permission)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    view_permission = "dovetail_adminapi.view_job"
    list_display = ("name", "state", "attempt", "requested_by", "queued_at", "finished_at", "progress_text")
    list_filter = ("state",)
    search_fields = ("=name", "=requested_by")
    # Those that workers get may hold secrets.
    exclude = ("parameters", "rank", "unique_key", "live_key", "publish_at")


@admin.register(SupportAccess)
class SupportAccessAdmin(ReadOnlyAdmin):
    view_permission = "dovetail_adminapi.view_support_access"
    list_display = ("admin_key", "user_key", "organization_key", "scope", "state", "requested_at", "expires_at")
    list_filter = ("scope",)
    search_fields = ("=admin_key", "=user_key", "=ticket")

    @admin.display(description=_("state"))
    def state(self, access: SupportAccess) -> str:
        return state_of(access)
