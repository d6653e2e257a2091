from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework import status
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.permissions import IsAuthenticated
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import ModelViewSet

from billing import services
from billing.api.serializers import CustomerSerializer, InvoiceSerializer
from billing.models import Customer, Invoice
from dovetail_apikeys.api.permissions import HasScope
from dovetail_tenancy.api.permissions import InOrganization


class Conflict(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


class CustomerViewSet(ModelViewSet[Customer]):
    """The customers of the organization."""

    # Any, because the framework's types allow only classes.
    permission_classes: Any = [
        IsAuthenticated,
        InOrganization,
        HasScope(read="customers:read", write="customers:write"),
    ]
    serializer_class = CustomerSerializer
    queryset = Customer.objects.all()
    lookup_value_converter = "uuid"
    contract: ClassVar[dict[str, Any]] = {
        "filter": {
            "name": ["eq", "istartswith", "contains"],
            "email": ["eq"],
            "status": ["eq", "in"],
            "created_at": ["gte", "lt"],
        },
        "sort": ["name", "created_at"],
        "idempotency": "optional",
        "codes": ["conflict"],
    }

    def perform_create(self, serializer: BaseSerializer[Customer]) -> None:
        serializer.instance = services.create_customer(**serializer.validated_data)

    def perform_update(self, serializer: BaseSerializer[Customer]) -> None:
        services.update_customer(customer=self._instance(serializer), **serializer.validated_data)

    def perform_destroy(self, instance: Customer) -> None:
        try:
            services.delete_customer(customer=instance)
        except services.CustomerHasInvoices:
            raise Conflict("This customer has invoices. Archive it instead: set its status to 'archived'.") from None

    @staticmethod
    def _instance(serializer: BaseSerializer[Customer]) -> Customer:
        assert serializer.instance is not None  # noqa: S101  # DRF sets it in every update
        return serializer.instance


class InvoiceViewSet(ModelViewSet[Invoice]):
    """The invoices of the organization, with their lines."""

    # Any, because the framework's types allow only classes.
    permission_classes: Any = [
        IsAuthenticated,
        InOrganization,
        HasScope(read="invoices:read", write="invoices:write"),
    ]
    serializer_class = InvoiceSerializer
    queryset = Invoice.objects.all()
    lookup_value_converter = "uuid"
    contract: ClassVar[dict[str, Any]] = {
        "filter": {
            "number": ["eq", "istartswith"],
            "customer": ["eq", "in"],
            "status": ["eq", "ne", "in", "nin"],
            "currency": ["eq", "in"],
            "issued_on": ["eq", "gte", "lt"],
            "due_on": ["eq", "gte", "lt"],
            "overdue_since": ["gte", "lt", "isnull"],
            "created_at": ["gte", "lt"],
        },
        "sort": ["number", "issued_on", "due_on", "overdue_since", "created_at"],
        "idempotency": "optional",
    }

    def get_queryset(self) -> QuerySet[Invoice]:
        rows = super().get_queryset()
        # A write reads the lines under its lock, or replaces them.
        return rows.prefetch_related("lines") if self.action in ("list", "retrieve") else rows

    def perform_create(self, serializer: BaseSerializer[Invoice]) -> None:
        serializer.instance = self._written(services.create_invoice, **serializer.validated_data)

    def perform_update(self, serializer: BaseSerializer[Invoice]) -> None:
        update = services.update_invoice
        serializer.instance = self._written(update, invoice=serializer.instance, **serializer.validated_data)

    def perform_destroy(self, instance: Invoice) -> None:
        services.delete_invoice(invoice=instance)

    @staticmethod
    def _written(service: Any, **fields: Any) -> Invoice:
        try:
            invoice: Invoice = service(**fields)
        except services.DuplicateNumber:
            message = f"Another invoice of this organization has the number {fields['number']!r}."
            raise ValidationError({"number": [message]}, code="unique") from None
        except services.CustomerGone:
            raise ValidationError({"customer": ["This customer does not exist."]}, code="does_not_exist") from None
        return invoice
