"""An admin site whose staff users choose an organization."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin
from django.urls import path

from dovetail_tenancy.admin import TenantAdmin, TenantTabularInline
from tests.tenancy.documents.models import Document, Folder, Note

site = admin.AdminSite("switched")


class Notes(TenantTabularInline):
    model = Note
    extra = 1
    fields = ("text",)


class DocumentAdmin(TenantAdmin):
    inlines = (Notes,)
    autocomplete_fields = ("folder",)
    search_fields = ("title",)
    list_filter = ("folder",)
    fields = ("title", "folder")


class FolderAdmin(TenantAdmin):
    search_fields = ("name",)


class PlainNoteAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """A model admin that is not adapted to tenancy yet."""

    raw_id_fields = ("document",)


site.register(Document, DocumentAdmin)
site.register(Folder, FolderAdmin)
site.register(Note, PlainNoteAdmin)
site.register(get_user_model(), UserAdmin)

urlpatterns = [path("admin/", site.urls)]
