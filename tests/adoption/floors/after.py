"""The project's own requests and documents."""

from __future__ import annotations

from callers import client
from django.test import Client

anonymous = Client(SERVER_NAME="localhost")
assert client().get("/api/requests/").json() == [{"subject": "It stops between floors."}]
assert [*filter(lambda path: "/v1/" in path, anonymous.get("/api/openapi.json").json()["paths"])] == []
assert anonymous.post("/api/delivery-reports/").json() == {"reason": "no-parcel", "retry": False}
assert anonymous.get("/api/v1/organizations/").status_code == 404
