from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth import get_permission_codename, get_user_model
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext_lazy as _

from dovetail_core.admin import LimitToOrganizations
from dovetail_notify import services
from dovetail_notify.base import AbstractNotification, get_notification_model
from dovetail_notify.models import Delivery, Device, OrganizationPreference, Preference
from dovetail_notify.transports.previews import previews
from dovetail_notify.types import registry

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin


class ReadOnlyAdmin(_ModelAdmin):
    # By time, with an index.
    ordering = ("-pk",)
    # Otherwise the admin counts all rows, possibly millions, for each page.
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class NotificationAdmin(LimitToOrganizations, ReadOnlyAdmin):
    organization_field = "organization_key"
    list_display = ("title", "type", "recipient", "organization_key", "created_at", "read_at")
    list_select_related = ("recipient",)
    search_fields = ("=organization_key", "=dedupe_key")
    change_list_template = "admin/dovetail_notify/notification/change_list.html"

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return (f"=recipient__{get_user_model().USERNAME_FIELD}", "=type", *self.search_fields)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return obj is not None and super().has_delete_permission(request, obj)

    def delete_model(self, request: HttpRequest, obj: AbstractNotification) -> None:
        services.remove_notification(notification=obj)

    def get_urls(self) -> list[URLPattern]:
        wrap, name = self.admin_site.admin_view, f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            path("types/", wrap(self.types_view), name=f"{name}_types"),
            path("types/<str:type_key>/", wrap(self.type_view), name=f"{name}_type"),
            *super().get_urls(),
        ]

    def types_view(self, request: HttpRequest) -> HttpResponse:
        return self._page(request, "types", types=registry.all(), title=_("Notification types"))

    def type_view(self, request: HttpRequest, type_key: str) -> HttpResponse:
        cls = registry.get(type_key)
        if cls is None:
            raise Http404
        try:
            context: dict[str, Any] = {"previews": list(previews(cls, request.user))}
        except Exception as error:  # noqa: BLE001  # any exception of a project's render() or template
            context = {"error": f"{type(error).__name__}: {error}"}
        return self._page(request, "type", type=cls, title=cls.key, **context)

    def _page(self, request: HttpRequest, template: str, **context: Any) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {**self.admin_site.each_context(request), "opts": self.opts, **context}
        return TemplateResponse(request, f"admin/dovetail_notify/notification/{template}.html", context)


if not admin.site.is_registered(get_notification_model()):
    # Also for a project's own model, unless the project has registered it.
    admin.site.register(get_notification_model(), NotificationAdmin)


@admin.register(Delivery)
class DeliveryAdmin(LimitToOrganizations, ReadOnlyAdmin):
    organization_field = "notification__organization_key"
    list_display = ("notification", "channel", "state", "attempts", "next_at", "sent_at", "error")
    list_filter = ("state", "channel")
    list_select_related = ("notification",)
    actions = ("resend",)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        # No delivery is deleted alone. Django asks for each delivery that a deletion cascades to: its notification is
        # deleted with it, so the permission for that decides.
        options = get_notification_model()._meta
        permission = f"{options.app_label}.{get_permission_codename('delete', options)}"
        return obj is not None and request.user.has_perm(permission) and self.shows(request, obj)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        raise PermissionDenied

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "show_delete": False})

    def has_resend_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("dovetail_notify.change_delivery")

    @admin.action(description=_("Send the selected deliveries again"), permissions=["resend"])
    def resend(self, request: HttpRequest, deliveries: QuerySet[Delivery]) -> None:
        count = services.resend(Delivery.objects.filter(pk__in=list(deliveries.values_list("pk", flat=True))))
        self.message_user(request, _("%d deliveries will be sent again.") % count)


@admin.register(Preference)
class PreferenceAdmin(LimitToOrganizations, _ModelAdmin):
    organization_field = "organization_key"
    list_display = ("user", "type", "channel", "mode", "organization_key")
    list_filter = ("channel", "mode")
    list_select_related = ("user",)
    raw_id_fields = ("user",)


@admin.register(OrganizationPreference)
class OrganizationPreferenceAdmin(LimitToOrganizations, _ModelAdmin):
    organization_field = "organization_key"
    list_display = ("organization_key", "type", "channel", "mode")
    list_filter = ("channel", "mode")


@admin.register(Device)
class DeviceAdmin(ReadOnlyAdmin):
    """Devices without their tokens, because a token is enough to send to the device."""

    list_display = ("user", "kind", "name", "registered_at", "retired_at", "retired_reason")
    list_filter = ("kind", ("retired_at", admin.EmptyFieldListFilter))
    list_select_related = ("user",)
    fields = ("user", "kind", "name", "created_at", "registered_at", "retired_at", "retired_reason")
