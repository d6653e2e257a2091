"""A key opens the README's view, and none of the project's own."""

from __future__ import annotations

from callers import client, organization, person
from django.test import Client

from dovetail_apikeys.services import create_api_key

_, raw = create_api_key(organization=organization(), name="Shop", scopes=["orders:read"], created_by=person())
shop = Client(SERVER_NAME="localhost", headers={"authorization": f"Bearer {raw}"})
response = shop.get("/api/orders/")
assert (response.status_code, response.json()) == (200, {"orders of": str(organization().pk)}), response.content
assert shop.post("/api/orders/").status_code == 403
assert client().get("/api/orders/").status_code == 403
assert Client(SERVER_NAME="localhost").get("/api/orders/").status_code in {401, 403}
