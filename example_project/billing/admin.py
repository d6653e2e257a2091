"""Staff select an organization, and see and add its customers and invoices."""

from __future__ import annotations

from django.contrib import admin

from billing.models import Customer, Invoice, InvoiceLine
from dovetail_audit.admin import AuditModelAdmin
from dovetail_tenancy.admin import TenantAdmin, TenantTabularInline


@admin.register(Customer)
class CustomerAdmin(AuditModelAdmin, TenantAdmin):
    list_display = ["name", "email", "status", "created_at"]
    list_filter = ["status"]
    search_fields = ["name", "email"]


class InvoiceLineInline(TenantTabularInline):
    model = InvoiceLine
    extra = 1


@admin.register(Invoice)
class InvoiceAdmin(AuditModelAdmin, TenantAdmin):
    list_display = ["number", "customer", "status", "currency", "due_on"]
    list_filter = ["status"]
    list_select_related = ["customer"]
    search_fields = ["number"]
    autocomplete_fields = ["customer"]
    inlines = [InvoiceLineInline]
