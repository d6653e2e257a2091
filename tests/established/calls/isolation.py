"""Every endpoint of the project, its own and ours, shows and changes one company's rows only; by session alone."""

from __future__ import annotations

import sys

from accounts.models import User
from companies.models import Company
from django.contrib.auth.hashers import make_password
from orders.models import Order

from dovetail_tenancy import services, unscoped
from dovetail_tenancy.testing import assert_isolated

assert "pytest" not in sys.modules
user = User.objects.create(username="walker", password=make_password("x"))
mine = services.create_organization(name="Walkers and Sons", owner=user)
theirs = services.create_organization(name="Strangers Limited", owner=User.objects.create(username="stranger"))
User.objects.filter(pk=user.pk).update(company=mine)
user.refresh_from_db()


def make(company: Company) -> None:
    with unscoped(reason="rows for assert_isolated"):
        owned = {"organization": company} if hasattr(Order, "organization") else {}
        Order.objects.create(company=company, number=f"Order {company.name}"[:20], total=1, **owned)
    services.add_member(
        organization=company, user=User.objects.create(username=f"second of {company.name}"), role="owner"
    )
    services.invite(organization=company, email=f"new{company.pk}@example.com", role="member")


MEMBERS = "api/v1/organizations/<str:organization_id>/members/"


def another_member(company: Company) -> dict[str, str]:
    from dovetail_tenancy import get_membership_model

    return {"member": str(get_membership_model().objects.filter(organization=company).last().pk)}


report = assert_isolated(
    mine=mine,
    theirs=theirs,
    user=user,
    make=make,
    bodies={
        "POST api/orders/^$": lambda company: {"number": "17", "total": "1.00"},
        "PUT api/orders/^(?P<pk>[^/.]+)/$": lambda company: {"number": "17", "total": "1.00"},
        "POST api/v1/organizations/<str:organization_id>/transfer-ownership/": another_member,
        "POST api/v1/organizations/<str:organization_id>/invitations/": lambda company: {
            "email": "you@example.com",
            "role": "member",
        },
        f"PATCH {MEMBERS}<str:membership_id>/": lambda company: {"role": "admin"},
        "POST api/session/": lambda company: {"username": "walker", "password": "x"},
    },
    skip={
        "admin/*": "staff see every company, or the one they choose",
        "POST api/v1/organizations/": "TENANCY_ORGANIZATION_CREATION is off for the project's own model",
        "POST api/v1/invitations/accept/": "by a token, for who is no member yet",
        "POST api/v1/invitations/decline/": "by a token, for who is no member yet",
    },
)
print(report)
assert len(report.tested) >= 20, report
