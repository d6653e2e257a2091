"""Jobs that administrators start in the admin API."""

from __future__ import annotations

from typing import Any

from dovetail_adminapi import admin_job


@admin_job("mark-overdue-invoices", unique=True)
def mark_overdue_invoices(job: Any) -> dict[str, Any]:
    """Mark the overdue invoices of all organizations."""
    # Late: it imports Celery, which processes of the API do not need without a broker.
    from billing.tasks import mark_overdue_invoices as mark

    return {"marked": mark()}
