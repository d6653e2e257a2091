"""Enforced: every row has its company, a signed-in member sees that one's, and nobody sees them without."""

from __future__ import annotations

from accounts.models import User
from companies.models import Company
from django.db.models import F
from django.test import Client
from orders.models import Order

from dovetail_tenancy import TenantRequired, services, tenant, unscoped

with unscoped(reason="test"):
    assert Order.objects.count() == 100_000
    assert not Order.objects.exclude(organization=F("company")).exists()
mill = Company.objects.get(name="Old Mill")
services.add_member(organization=mill, user=User.objects.get(username="miller"), role="owner")
with tenant(mill):
    mine = Order.objects.count()
# 99 999 rows dealt out in turn, beginning with the company that had one already.
assert mine == 5_001
try:
    Order.objects.count()
except TenantRequired:
    pass
else:
    raise AssertionError("The orders of every company were shown.")

client = Client(SERVER_NAME="localhost")
assert client.post("/api/session/", {"username": "miller", "password": "grain-and-stone"}).status_code == 200
assert client.get("/api/orders/").json()["count"] == mine
