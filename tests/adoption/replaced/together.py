"""The project's own token opens what every package serves, and an error of any package is a problem of contract."""

from __future__ import annotations

from callers import client
from django.test import Client

assert len(client().get("/api/v1/organizations/").json()["data"]) == 1
response = client().get("/api/v1/notifications/0/")
assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json"), response.content
for path in ("organizations/", "notifications/", "api-keys/"):
    response = Client(SERVER_NAME="localhost").get(f"/api/v1/{path}")
    assert (response.status_code, response["Content-Type"]) == (401, "application/problem+json"), response.content
