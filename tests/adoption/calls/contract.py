"""Every error below /api/ is a problem, and carries the request's id."""

from __future__ import annotations

from django.test import Client

response = Client(SERVER_NAME="localhost").get("/api/nowhere/", headers={"x-request-id": "from-the-gateway"})
assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json"), response.content
assert (response.json()["code"], response.json()["request_id"]) == ("not_found", "from-the-gateway")
assert Client(SERVER_NAME="localhost").get(response.json()["type"]).status_code == 200
