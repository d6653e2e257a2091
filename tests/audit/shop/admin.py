from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from dovetail_audit import attempt
from dovetail_audit.entries.admin_log import AuditModelAdmin
from tests.audit.shop.models import Order, Owner, Product, RushOrder


@admin.register(Product)
class ProductAdmin(AuditModelAdmin):
    list_display = ["name", "price"]
    list_editable = ["price"]
    actions = ["give_away", "audit_stock", "fail"]

    @admin.action(description="Give away")
    def give_away(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        queryset.update(price=0)

    @admin.action(description="Audit stock")
    def audit_stock(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        with attempt("stock.audited"), transaction.atomic(durable=True):
            queryset.update(price=1)

    @admin.action(description="Fail")
    def fail(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        raise RuntimeError


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Without AuditModelAdmin."""


@admin.register(RushOrder)
class RushOrderAdmin(AuditModelAdmin):
    """Of a tracked model."""

    fields = ["number", "phone", "pickup"]


class OrderInline(admin.TabularInline):  # type: ignore[type-arg]
    model = Order
    fields = ["number"]


@admin.register(Owner)
class OwnerAdmin(AuditModelAdmin):
    fields = ["first_name"]
    inlines = [OrderInline]
