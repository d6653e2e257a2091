from __future__ import annotations

import io

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from billing.models import Customer, Invoice, InvoiceLine
from dovetail_tenancy import get_membership_model, get_organization_model, tenant, unscoped


@pytest.fixture
def _development(settings):
    settings.DEBUG = True


def _seed() -> str:
    output = io.StringIO()
    call_command("seed_demo", stdout=output)
    return output.getvalue()


def _everything() -> list[object]:
    models = (get_user_model(), get_organization_model(), get_membership_model(), Customer, Invoice, InvoiceLine)
    with unscoped(reason="compare"):
        return [list(model.objects.order_by("pk").values()) for model in models]


@pytest.mark.django_db
def test_seed_demo_requires_development(settings):
    assert settings.DEBUG is False
    with pytest.raises(CommandError, match=r"a publicly known password.*DJANGO_DEBUG=true"):
        _seed()
    assert get_user_model().objects.count() == 0


@pytest.mark.django_db
@pytest.mark.usefixtures("_development")
def test_seed_demo_creates_accounts_and_organizations():
    printed = _seed()
    memberships = get_membership_model().objects.values_list("user__email", "organization__name", "role")
    assert sorted(memberships) == [
        ("ada@example.com", "Acme", "owner"),
        ("grace@example.com", "Acme", "member"),
        ("grace@example.com", "Globex", "member"),
        ("linus@example.com", "Globex", "owner"),
    ]
    admin = get_user_model().objects.get(email="admin@example.com")
    assert (admin.is_staff, admin.is_superuser) == (True, True)
    for email in ("ada", "linus", "grace", "admin"):
        credentials = {"email": f"{email}@example.com", "password": "demo-password"}
        assert APIClient().post("/api/auth/jwt/token/", credentials).status_code == 200
        assert credentials["email"] in printed
    assert "demo-password" in printed
    for organization in get_organization_model().objects.all():
        with tenant(organization):
            assert (Customer.objects.count(), Invoice.objects.count()) == (25, 40)
            assert all(invoice.total > 0 for invoice in Invoice.objects.prefetch_related("lines"))


@pytest.mark.django_db
@pytest.mark.usefixtures("_development")
def test_second_seed_changes_nothing():
    _seed()
    before = _everything()
    _seed()
    assert _everything() == before


@pytest.mark.django_db
@pytest.mark.usefixtures("_development")
def test_seed_demo_restores_missing_rows():
    def amounts() -> list[object]:
        with unscoped(reason="compare"):
            lines = InvoiceLine.objects.filter(invoice__number="INV-0007")
            return sorted(lines.values_list("organization__name", "description", "quantity", "unit_price"))

    _seed()
    before = amounts()
    assert before
    with unscoped(reason="lose some"):
        Invoice.objects.filter(number="INV-0007").delete()
    assert amounts() == []
    _seed()
    assert amounts() == before


@pytest.mark.django_db
@pytest.mark.usefixtures("_development")
def test_seed_demo_takes_few_queries(django_assert_max_num_queries):
    with django_assert_max_num_queries(60):
        _seed()
