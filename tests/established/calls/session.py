"""The project's own way: sign in by session, list the orders; every row is still there."""

from __future__ import annotations

from accounts.models import User
from companies.models import Company
from django.test import Client

assert sorted(User.objects.values_list("username", "email")) == [
    ("first", "shared@example.com"),
    ("miller", ""),
    ("second", "shared@example.com"),
]
assert list(Company.objects.values_list("name", "industry__name")) == [("Old Mill", "Milling")]

client = Client(SERVER_NAME="localhost")
assert client.get("/api/orders/").status_code == 403
answer = client.post("/api/session/", {"username": "miller", "password": "grain-and-stone"})
assert answer.status_code == 200, answer.content
answer = client.get("/api/orders/")
assert answer.status_code == 200, answer.content
assert [order["number"] for order in answer.json()["results"]] == ["1"], answer.content
assert answer.json().keys() == {"count", "next", "previous", "results"}
