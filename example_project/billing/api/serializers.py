from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing.models import Customer, Invoice, InvoiceLine
from dovetail_contract.validation.serializers import ModelSerializer


class CustomerSerializer(ModelSerializer[Customer]):
    class Meta:
        model = Customer
        fields = ["id", "name", "email", "status", "created_at"]
        read_only_fields = ["created_at"]


class InvoiceLineSerializer(ModelSerializer[InvoiceLine]):
    class Meta:
        model = InvoiceLine
        fields = ["description", "quantity", "unit_price"]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        # Lines are replaced as a whole, but REST framework requires none of their fields in a PATCH of the invoice.
        missing = {
            name: [field.error_messages["required"]]
            for name, field in self.fields.items()
            if field.required and name not in attrs
        }
        if missing:
            raise serializers.ValidationError(missing, code="required")
        return attrs


class InvoiceSerializer(ModelSerializer[Invoice]):
    # The queryset has only customers of the active organization, so others "do not exist".
    customer = serializers.PrimaryKeyRelatedField(queryset=Customer.objects.all(), pk_field=serializers.UUIDField())
    lines = InvoiceLineSerializer(many=True, allow_empty=False, max_length=100)  # type: ignore[call-arg]  # the list's
    total = serializers.DecimalField(max_digits=24, decimal_places=2, read_only=True)

    class Meta:
        model = Invoice
        fields = [
            "id",
            "number",
            "customer",
            "status",
            "currency",
            "issued_on",
            "due_on",
            "lines",
            "total",
            "overdue_since",
            "created_at",
        ]
        read_only_fields = ["overdue_since", "created_at"]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        issued_on = attrs.get("issued_on", getattr(self.instance, "issued_on", None))
        due_on = attrs.get("due_on", getattr(self.instance, "due_on", None))
        if issued_on is not None and due_on is not None and due_on < issued_on:
            raise serializers.ValidationError({"due_on": [f"Must not be before issued_on ({issued_on})."]})
        return attrs
