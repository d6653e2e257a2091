"""A token pair of identity opens what tenancy serves, and what a magic link returns is one."""

from __future__ import annotations

from callers import NAME, PASSWORD
from django.test import Client

anonymous = Client(SERVER_NAME="localhost")
response = anonymous.post("/api/auth/jwt/token/", NAME | {"password": PASSWORD}, content_type="application/json")
bearer = {"authorization": f"Bearer {response.json()['access']}"}
response = anonymous.get("/api/v1/organizations/", headers=bearer)
assert (response.status_code, len(response.json()["data"])) == (200, 1), response.content
# An error of any package is a problem of contract.
response = anonymous.get("/api/v1/notifications/0/", headers=bearer)
assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json"), response.content
