"""The project's tokens open its tickets."""

from __future__ import annotations

from callers import client, organization
from django.test import Client

tickets = f"/api/companies/{organization().pk}/tickets/"
assert client().get(tickets).json() == [{"id": 1, "title": "Mend the wheel", "author": "berta@example.com"}]
assert Client(SERVER_NAME="localhost").get(tickets).status_code == 401
