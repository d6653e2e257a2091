"""Fills the orders with the rows of years: 100 000 of 20 companies."""

from __future__ import annotations

from companies.models import Company
from orders.models import Order

Company.objects.bulk_create(Company(name=f"Mill {number}") for number in range(19))
companies = list(Company.objects.order_by("pk"))
Order.objects.bulk_create(
    (Order(company=companies[number % 20], number=f"N{number}", total=1) for number in range(99_999)), batch_size=5000
)
assert Order.objects.count() == 100_000
