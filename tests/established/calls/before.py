"""Before anything is installed: people sign in by session. Leaves the rows that must be there at the end."""

from __future__ import annotations

from accounts.models import User
from companies.models import Company, Industry
from django.test import Client
from orders.models import Order

mill = Company.objects.create(name="Old Mill", industry=Industry.objects.create(name="Milling"))
User.objects.create_user("miller", password="grain-and-stone", company=mill)
User.objects.create_user("first", email="shared@example.com", password="grain-and-stone")
User.objects.create_user("second", email="shared@example.com", password="grain-and-stone")
Order.objects.create(company=mill, number="1", total=10)

client = Client(SERVER_NAME="localhost")
assert client.post("/api/session/", {"username": "miller", "password": "grain-and-stone"}).status_code == 200
assert client.get("/api/orders/").json()["count"] == 1
