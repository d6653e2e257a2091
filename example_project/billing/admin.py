"""The admin site sees every organization's rows; staff choose the organization of what they add."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from billing.models import Customer, Invoice, InvoiceLine


@admin.register(Customer)
class CustomerAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    list_display = ["name", "email", "status", "organization", "created_at"]
    list_filter = ["status"]
    list_select_related = ["organization"]
    search_fields = ["name", "email"]
    raw_id_fields = ["organization"]


class InvoiceLineInline(admin.TabularInline):  # type: ignore[type-arg]
    model = InvoiceLine
    exclude = ["organization"]
    extra = 1


@admin.register(Invoice)
class InvoiceAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["number", "customer", "status", "currency", "due_on", "organization"]
    list_filter = ["status"]
    list_select_related = ["customer", "organization"]
    search_fields = ["number"]
    raw_id_fields = ["organization", "customer"]
    inlines = [InvoiceLineInline]

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        for line in formset.save(commit=False):
            line.organization_id = form.instance.organization_id
            line.save()
        for line in formset.deleted_objects:
            line.delete()
