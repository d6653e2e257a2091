from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from itertools import product
from random import Random
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from billing.models import Customer, CustomerStatus, Invoice, InvoiceLine, InvoiceStatus
from dovetail_tenancy import get_membership_model, get_organization_model, tenant
from dovetail_tenancy.services import add_member, create_organization

PASSWORD = "demo-password"  # noqa: S105  # printed on purpose; the command does not run in production

PEOPLE: dict[str, dict[str, Any]] = {
    "ada@example.com": {"first_name": "Ada", "last_name": "Lovelace"},
    "linus@example.com": {"first_name": "Linus", "last_name": "Pauling"},
    "grace@example.com": {"first_name": "Grace", "last_name": "Hopper"},
    "admin@example.com": {"first_name": "Admin", "is_staff": True, "is_superuser": True},
}
OWNERS = {"Acme": "ada@example.com", "Globex": "linus@example.com"}
MEMBER_OF_BOTH = "grace@example.com"
CUSTOMERS, INVOICES = 25, 40

_FIRST = ["Amber", "Birch", "Cedar", "Delta", "Ember"]
_SECOND = ["Bakery", "Clinic", "Press", "Studio", "Works"]
_WORK = ["Consulting", "Design", "Hosting", "Maintenance", "Training", "Translation"]
_FIRST_DAY = date(2026, 1, 5)


class Command(BaseCommand):
    help = "Create missing demo accounts, organizations, customers and invoices."

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError(
                "seed_demo creates accounts with a publicly known password, including a superuser. It runs only with "
                "DJANGO_DEBUG=true."
            )
        people = _people()
        for name, owner in OWNERS.items():
            organization = _organization(name, people[owner])
            memberships = get_membership_model()._default_manager
            if not memberships.filter(organization=organization, user=people[MEMBER_OF_BOTH]).exists():
                add_member(organization=organization, user=people[MEMBER_OF_BOTH], role="member")
            with tenant(organization):
                _invoices(_customers(name), name)
        self._print_sign_in()

    def _print_sign_in(self) -> None:
        self.stdout.write(f"Sign in with the password {PASSWORD}:")
        for name, owner in OWNERS.items():
            self.stdout.write(f"  {owner:<20}owner of {name}")
        self.stdout.write(f"  {MEMBER_OF_BOTH:<20}member of {' and '.join(OWNERS)}")
        self.stdout.write(f"  {'admin@example.com':<20}staff, for the admin site")


def _people() -> dict[str, Any]:
    users = get_user_model()._default_manager
    people = {user.email: user for user in users.filter(email__in=PEOPLE)}
    if missing := PEOPLE.keys() - people.keys():
        # One hash for all accounts, because hashing takes half a second.
        password = make_password(PASSWORD)
        for email in sorted(missing):
            fields = {"password": password, "email_verified_at": timezone.now(), **PEOPLE[email]}
            people[email] = users.create(email=email, **fields)
    return people


def _organization(name: str, owner: Any) -> Any:
    organization = get_organization_model()._default_manager.filter(slug=name.lower()).first()
    return organization or create_organization(name=name, owner=owner, slug=name.lower())


def _customers(organization: str) -> list[Customer]:
    """Return the demo customers, ordered by e-mail address."""
    customers = {customer.email: customer for customer in Customer.objects.all()}
    for number, (first, second) in enumerate(product(_FIRST, _SECOND)):
        email = f"office@{first}-{second}-{organization}.example".lower()
        status = CustomerStatus.ARCHIVED if number % 8 == 7 else CustomerStatus.ACTIVE
        customers.setdefault(email, Customer(name=f"{first} {second}", email=email, status=status))
    Customer.objects.bulk_create(customer for customer in customers.values() if customer._state.adding)
    return sorted(customers.values(), key=lambda customer: customer.email)


def _invoices(customers: list[Customer], organization: str) -> None:
    numbers = set(Invoice.objects.values_list("number", flat=True))
    missing = [invoice for invoice in _demo_invoices(customers) if invoice.number not in numbers]
    Invoice.objects.bulk_create(missing)
    InvoiceLine.objects.bulk_create(line for invoice in missing for line in _demo_lines(invoice, organization))


def _demo_invoices(customers: list[Customer]) -> Iterator[Invoice]:
    statuses = list(InvoiceStatus)
    for number in range(1, INVOICES + 1):
        issued_on = _FIRST_DAY + timedelta(days=7 * number)
        yield Invoice(
            number=f"INV-{number:04}",
            customer=customers[number % len(customers)],
            status=statuses[number % len(statuses)],
            issued_on=issued_on,
            due_on=issued_on + timedelta(days=30),
        )


def _demo_lines(invoice: Invoice, organization: str) -> Iterator[InvoiceLine]:
    # Seeded with the invoice number, so that the amounts are the same in every run and on every machine.
    random = Random(f"{organization} {invoice.number}")  # noqa: S311  # demo data
    for work in random.sample(_WORK, k=random.randint(1, 3)):
        price = Decimal(random.randint(40, 160))
        yield InvoiceLine(invoice=invoice, description=work, quantity=Decimal(random.randint(1, 24)), unit_price=price)
