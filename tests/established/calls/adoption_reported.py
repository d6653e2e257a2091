"""While isolation is only reported, code without an organization goes on, and the log names its place."""

from __future__ import annotations

import logging

from orders.models import Order

told: list[str] = []


class Told(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        told.append(record.getMessage())


logging.getLogger("dovetail.tenancy").addHandler(Told())
assert Order.objects.count() == 100_000
assert any("orders.Order" in line and "adoption_reported.py:" in line for line in told), told
