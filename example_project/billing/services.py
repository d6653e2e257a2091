"""The rules of billing that write, for the active organization.

Each function locks the organization, then the customer, then the invoice, and raises ``Vanished`` if one of them was
deleted meanwhile. Other orders would deadlock, for example with the deletion of the organization.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from typing import Any, TypedDict

from django.db import DEFAULT_DB_ALIAS, IntegrityError, transaction
from django.db.models import QuerySet, RestrictedError
from django.utils import timezone

from billing.models import Customer, Invoice, InvoiceLine, InvoiceStatus
from dovetail_core.events import emit
from dovetail_core.transactions import Vanished, lock, lock_shared, lock_shared_by_key, retry_on_conflict
from dovetail_tenancy import get_organization_model, require_tenant


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


@retry_on_conflict
@transaction.atomic
def create_customer(**fields: Any) -> Customer:
    lock_shared_by_key(get_organization_model(), require_tenant(), using=DEFAULT_DB_ALIAS)
    customer: Customer = Customer.objects.create(**fields)
    emit("customer.created", target=customer)
    return customer


@retry_on_conflict
@transaction.atomic
def update_customer(*, customer: Customer, **fields: Any) -> Customer:
    # Without locks: one UPDATE that changes no foreign key waits for no other row.
    _assign(customer, fields)
    customer.save(update_fields=[*fields])
    return customer


@retry_on_conflict
@transaction.atomic
def delete_customer(*, customer: Customer) -> None:
    """Delete a customer. Raise ``CustomerHasInvoices`` if it has any."""
    current = lock(Customer.objects.filter(pk=customer.pk), deleting=True, parents=[_organization()])
    try:
        current.delete()
    except RestrictedError as error:
        raise CustomerHasInvoices from error


def create_invoice(*, lines: Sequence[Line], **fields: Any) -> Invoice:
    """Create an invoice. Raise ``DuplicateNumber`` or ``CustomerGone`` without writing anything."""
    with _unique(fields["number"], Invoice.objects.all()):
        return _create_invoice(lines, fields)


@retry_on_conflict
@transaction.atomic
def _create_invoice(lines: Sequence[Line], fields: dict[str, Any]) -> Invoice:
    with _existing_customer():
        lock_shared(Customer.objects.filter(pk=fields["customer"].pk), parents=[_organization()])
    invoice: Invoice = Invoice.objects.create(**fields)
    _write_lines(invoice, lines)
    emit("invoice.created", target=invoice, data={"number": invoice.number})
    _emit_if_paid(invoice, before=None)
    return invoice


def update_invoice(*, invoice: Invoice, lines: Sequence[Line] | None = None, **fields: Any) -> Invoice:
    """Change the given fields, and return the changed invoice. ``lines`` replaces all lines.

    Raise ``DuplicateNumber`` or ``CustomerGone`` without writing anything.
    """
    with _unique(fields.get("number"), Invoice.objects.exclude(pk=invoice.pk)):
        return _update_invoice(invoice, lines, fields)


@retry_on_conflict
@transaction.atomic
def _update_invoice(invoice: Invoice, lines: Sequence[Line] | None, fields: dict[str, Any]) -> Invoice:
    rows = Invoice.objects.filter(pk=invoice.pk)
    parents = [_organization()]
    if "customer" in fields:
        parents.append(Customer.objects.filter(pk=fields["customer"].pk))
    with _existing_customer():
        # Without the lock, two parallel updates could leave the lines of both.
        current: Invoice = lock(rows if lines is not None else rows.prefetch_related("lines"), parents=parents)
    before = current.status
    _assign(current, fields)
    if fields:
        current.save(update_fields=[*fields])
    if lines is not None:
        current.lines.all().delete()
        _write_lines(current, lines)
    _emit_if_paid(current, before=before)
    return current


@retry_on_conflict
@transaction.atomic
def delete_invoice(*, invoice: Invoice) -> None:
    # Before its lines, like update_invoice.
    current = lock(Invoice.objects.filter(pk=invoice.pk), deleting=True, parents=[_organization()])
    emit("invoice.deleted", target=invoice, data={"number": current.number})
    current.delete()


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


def _organization() -> QuerySet[Any]:
    rows: QuerySet[Any] = get_organization_model()._base_manager.using(DEFAULT_DB_ALIAS).filter(pk=require_tenant())
    return rows


@contextmanager
def _existing_customer() -> Iterator[None]:
    try:
        yield
    except Vanished as error:
        if str(error) == Customer._meta.label:
            raise CustomerGone from None
        raise


@contextmanager
def _unique(number: str | None, others: QuerySet[Invoice]) -> Iterator[None]:
    """Raise ``DuplicateNumber`` if the transaction failed because one of the others has the number."""
    try:
        yield
    except IntegrityError:
        # After the transaction, because PostgreSQL rejects every statement after an error until a rollback.
        if number is not None and others.filter(number=number).exists():
            raise DuplicateNumber from None
        raise


def _write_lines(invoice: Invoice, lines: Sequence[Line]) -> None:
    rows = InvoiceLine.objects.bulk_create(InvoiceLine(invoice=invoice, **line) for line in lines)
    # As prefetch_related() stores them: the response shows the lines and their total without reading them again.
    written = invoice.lines.all()
    written._result_cache = rows
    vars(invoice)["_prefetched_objects_cache"] = {"lines": written}
