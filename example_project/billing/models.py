from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone

from dovetail_core.models import uuid7
from dovetail_tenancy.models import SameOrganization, TenantForeignKey, TenantModel

CENT = Decimal("0.01")


class CustomerStatus(models.TextChoices):
    ACTIVE = "active"
    ARCHIVED = "archived"


class InvoiceStatus(models.TextChoices):
    DRAFT = "draft"
    SENT = "sent"
    PAID = "paid"
    VOID = "void"


class Customer(TenantModel):
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=200)
    email = models.EmailField()
    status = models.CharField(max_length=16, choices=CustomerStatus, default=CustomerStatus.ACTIVE)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta(TenantModel.Meta):
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["id", "organization"], name="billing_customer_of_organization")]
        # One for the order of the list, and one for each of its sort keys and filters: a page reads only its own rows.
        # `contains` has none. Row-level security would keep PostgreSQL from using it, because LIKE is not leakproof.
        indexes = [
            models.Index(fields=["organization", "-id"], name="billing_customer_newest"),
            models.Index(fields=["organization", "name", "id"], name="billing_customer_name"),
            models.Index(fields=["organization", "email", "-id"], name="billing_customer_email"),
            models.Index(fields=["organization", "status", "-id"], name="billing_customer_status"),
            models.Index(fields=["organization", "created_at", "id"], name="billing_customer_created"),
        ]

    def __str__(self) -> str:
        return self.name


class Invoice(TenantModel):
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    number = models.CharField(max_length=32)
    # RESTRICT, not PROTECT: deleting the organization deletes both, which PROTECT would reject.
    customer = TenantForeignKey(Customer, on_delete=models.RESTRICT, related_name="invoices")
    status = models.CharField(max_length=16, choices=InvoiceStatus, default=InvoiceStatus.DRAFT)
    currency = models.CharField(
        max_length=3, default="EUR", validators=[RegexValidator(r"\A[A-Z]{3}\Z", "Three capital letters (ISO 4217).")]
    )
    issued_on = models.DateField()
    due_on = models.DateField()
    overdue_since = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta(TenantModel.Meta):
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "number"], name="billing_invoice_number"),
            models.UniqueConstraint(fields=["id", "organization"], name="billing_invoice_of_organization"),
            SameOrganization("customer", name="billing_invoice_customer_of_same_organization"),
            models.CheckConstraint(
                condition=models.Q(due_on__gte=models.F("issued_on")), name="billing_invoice_due_after_issued"
            ),
        ]
        # See Customer. The unique constraint on the number serves its sort key and filter.
        indexes = [
            models.Index(fields=["organization", "-id"], name="billing_invoice_newest"),
            models.Index(fields=["organization", "customer", "-id"], name="billing_invoice_customer"),
            models.Index(fields=["organization", "status", "-id"], name="billing_invoice_status"),
            models.Index(fields=["organization", "currency", "-id"], name="billing_invoice_currency"),
            models.Index(fields=["organization", "issued_on", "id"], name="billing_invoice_issued"),
            models.Index(fields=["organization", "due_on", "id"], name="billing_invoice_due"),
            models.Index(fields=["organization", "overdue_since", "id"], name="billing_invoice_overdue"),
            # Few invoices are overdue. Without it, a filter on the date passes over the others or sorts all that match.
            models.Index(
                fields=["organization", "-id"],
                condition=models.Q(overdue_since__isnull=False),
                name="billing_invoice_overdue_newest",
            ),
            models.Index(fields=["organization", "created_at", "id"], name="billing_invoice_created"),
        ]

    def __str__(self) -> str:
        return self.number

    @property
    def total(self) -> Decimal:
        """Return the sum of the lines, rounded to cents once. Prefetch ``lines``.

        The sum is not computed by the database, because SQLite has only floating-point numbers.
        """
        amounts = (line.quantity * line.unit_price for line in self.lines.all())
        return sum(amounts, Decimal(0)).quantize(CENT, rounding=ROUND_HALF_UP)


class InvoiceLine(TenantModel):
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    invoice = TenantForeignKey(Invoice, on_delete=models.CASCADE, related_name="lines")
    description = models.CharField(max_length=200)
    quantity = models.DecimalField(max_digits=9, decimal_places=3, validators=[MinValueValidator(Decimal("0.001"))])
    unit_price = models.DecimalField(max_digits=12, decimal_places=2)

    class Meta(TenantModel.Meta):
        # UUIDv7 keys increase, so this is the order of creation.
        ordering = ["id"]
        constraints = [SameOrganization("invoice", name="billing_invoiceline_invoice_of_same_organization")]

    def __str__(self) -> str:
        return self.description
