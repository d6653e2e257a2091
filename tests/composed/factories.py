from __future__ import annotations

from datetime import date
from decimal import Decimal
from itertools import count
from typing import Any

from django.contrib.auth import get_user_model
from rest_framework.test import APIClient

from billing import services
from billing.models import Customer, Invoice
from dovetail_tenancy import tenant
from dovetail_tenancy.services import create_organization

_numbers = count(1)

PASSWORD = "correct-horse-battery"


def user(**fields: Any) -> Any:
    email = fields.pop("email", f"person{next(_numbers)}@example.com")
    return get_user_model().objects.create_user(email=email, password=PASSWORD, **fields)


def organization(owner: Any = None, name: str = "Initech") -> Any:
    return create_organization(name=name, owner=owner or user())


def customer(organization: Any, **fields: Any) -> Customer:
    with tenant(organization):
        return services.create_customer(**{"name": "Milton", "email": "milton@example.com", **fields})


def line(**fields: Any) -> Any:
    return {"description": "Staplers", "quantity": Decimal("2"), "unit_price": Decimal("9.95"), **fields}


def invoice(organization: Any, **fields: Any) -> Invoice:
    fields.setdefault("customer", None)
    fields["customer"] = fields["customer"] or customer(organization)
    with tenant(organization):
        return services.create_invoice(
            **{
                "number": f"N-{next(_numbers)}",
                "issued_on": date(2026, 1, 1),
                "due_on": date(2026, 1, 31),
                "lines": [line(), line(quantity=Decimal("0.5"))],
                **fields,
            }
        )


def client(user: Any, organization: Any = None) -> APIClient:
    """Return a client that is signed in by a token."""
    signed_in = APIClient()
    answer = signed_in.post("/api/auth/jwt/token/", {"email": user.email, "password": PASSWORD})
    assert answer.status_code == 200, answer.content
    headers = {"HTTP_AUTHORIZATION": f"Bearer {answer.data['access']}"}
    if organization is not None:
        headers["HTTP_X_ORGANIZATION_ID"] = str(organization.pk)
    signed_in.credentials(**headers)
    return signed_in
