"""A key acts for its creator in a view that reads the integer id and the e-mail of a user."""

from __future__ import annotations

from callers import client, organization, person
from django.test import Client

from dovetail_apikeys.services import create_api_key

_, raw = create_api_key(
    organization=organization(), name="Till", scopes=["orders:read", "orders:write"], created_by=person()
)
till = Client(SERVER_NAME="localhost", headers={"authorization": f"Bearer {raw}"})
declared = f"/api/machines/{organization().pk}/tickets/"
assert len(till.get(declared).json()) == 1
assert till.post(declared, {"title": "Mend the sieve"}).json()["author"] == "berta@example.com"
assert till.get("/api/machines/0/tickets/").status_code == 403
# The project's own paths see no key.
assert till.get(f"/api/companies/{organization().pk}/tickets/").status_code == 401
# The boss manages the company's keys.
assert [row["name"] for row in client().get("/api/v1/api-keys/").json()["data"]] == ["Till", "Shop"]
organization().tickets.filter(title="Mend the sieve").delete()
