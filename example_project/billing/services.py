"""The rules of billing that write, for the active organization."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, TypedDict
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import RestrictedError
from django.utils import timezone

from billing.models import Customer, Invoice, InvoiceLine, InvoiceStatus
from dovetail_core.events import emit


class DuplicateNumber(Exception):
    """The organization has another invoice with this number."""


class CustomerGone(Exception):
    """The customer was deleted while the invoice was being saved."""


class CustomerHasInvoices(Exception):
    """A customer with invoices cannot be deleted, only archived."""


class Line(TypedDict):
    description: str
    quantity: Decimal
    unit_price: Decimal


@transaction.atomic
def create_customer(**fields: Any) -> Customer:
    customer: Customer = Customer.objects.create(**fields)
    emit("customer.created", target=customer)
    return customer


@transaction.atomic
def update_customer(*, customer: Customer, **fields: Any) -> Customer:
    _assign(customer, fields)
    customer.save(update_fields=[*fields])
    return customer


@transaction.atomic
def delete_customer(*, customer: Customer) -> None:
    """Delete a customer. Raise ``CustomerHasInvoices`` if it has any."""
    # Prevents a parallel transaction from adding an invoice; see _lock_customer.
    Customer.objects.select_for_update().filter(pk=customer.pk).first()
    try:
        customer.delete()
    except RestrictedError as error:
        raise CustomerHasInvoices from error


@transaction.atomic
def create_invoice(*, lines: Sequence[Line], **fields: Any) -> Invoice:
    """Create an invoice. Raise ``DuplicateNumber`` or ``CustomerGone`` without writing anything."""
    _lock_customer(fields["customer"].pk)
    invoice = Invoice(**fields)
    _save(invoice, force_insert=True)
    _write_lines(invoice, lines)
    emit("invoice.created", target=invoice, data={"number": invoice.number})
    _emit_if_paid(invoice, before=None)
    return invoice


@transaction.atomic
def update_invoice(*, invoice: Invoice, lines: Sequence[Line] | None = None, **fields: Any) -> Invoice:
    """Change the given fields. ``lines`` replaces all lines.

    Raise ``DuplicateNumber`` or ``CustomerGone`` without writing anything.
    """
    # Without the lock, two parallel updates could leave the lines of both.
    before = Invoice.objects.select_for_update().filter(pk=invoice.pk).first()
    if "customer" in fields:
        _lock_customer(fields["customer"].pk)
    _assign(invoice, fields)
    if fields:
        _save(invoice, update_fields=[*fields])
    if lines is not None:
        invoice.lines.all().delete()
        _write_lines(invoice, lines)
    _emit_if_paid(invoice, before=before.status if before else None)
    return invoice


@transaction.atomic
def delete_invoice(*, invoice: Invoice) -> None:
    emit("invoice.deleted", target=invoice, data={"number": invoice.number})
    invoice.delete()


@transaction.atomic
def mark_overdue(*, today: date) -> int:
    """Set ``overdue_since`` of sent invoices past their due date, and return the number of changed invoices."""
    late = Invoice.objects.filter(status=InvoiceStatus.SENT, due_on__lt=today, overdue_since=None)
    marked: int = late.update(overdue_since=timezone.now())
    return marked


def _emit_if_paid(invoice: Invoice, *, before: str | None) -> None:
    if invoice.status == InvoiceStatus.PAID != before:
        emit("invoice.paid", target=invoice, data={"number": invoice.number})


def _assign(instance: Customer | Invoice, fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        setattr(instance, name, value)


def _lock_customer(key: UUID) -> None:
    # Foreign keys are checked when the transaction commits. Without the lock, a customer that is deleted in between
    # raises an IntegrityError outside every handler.
    if Customer.objects.select_for_update().filter(pk=key).first() is None:
        raise CustomerGone


def _save(invoice: Invoice, **options: Any) -> None:
    try:
        # A savepoint, because PostgreSQL rejects every statement after an error until a rollback.
        with transaction.atomic():
            invoice.save(**options)
    except IntegrityError:
        if Invoice.objects.filter(number=invoice.number).exclude(pk=invoice.pk).exists():
            raise DuplicateNumber from None
        raise


def _write_lines(invoice: Invoice, lines: Sequence[Line]) -> None:
    InvoiceLine.objects.bulk_create(InvoiceLine(invoice=invoice, **line) for line in lines)
