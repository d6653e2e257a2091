from __future__ import annotations

from django.utils import timezone

from background.celery import app
from billing import services
from billing.models import Invoice, InvoiceStatus
from dovetail_tenancy import tenant, unscoped


@app.task
def mark_overdue_invoices() -> int:
    """Mark the overdue invoices of all organizations, one at a time, and return their number."""
    today = timezone.localdate()
    with unscoped(reason="find the organizations with overdue invoices"):
        late = Invoice.objects.filter(status=InvoiceStatus.SENT, due_on__lt=today, overdue_since=None)
        organizations = list(late.order_by().values_list("organization_id", flat=True).distinct())
    marked = 0
    for organization in organizations:
        with tenant(organization):
            marked += services.mark_overdue(today=today)
    return marked
