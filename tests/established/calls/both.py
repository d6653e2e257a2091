"""The token pair of identity opens what tenancy serves."""

from __future__ import annotations

from django.test import Client

client = Client(SERVER_NAME="localhost")
answer = client.post(
    "/api/auth/jwt/token/", {"username": "miller", "password": "grain-and-stone"}, content_type="application/json"
)
bearer = {"HTTP_AUTHORIZATION": f"Bearer {answer.json()['access']}"}
answer = client.post("/api/v1/organizations/", {"name": "Third Mill"}, content_type="application/json", **bearer)
assert answer.status_code == 201, answer.content
answer = client.get("/api/v1/organizations/", **bearer)
assert [row["name"] for row in answer.json()["data"]] == ["Third Mill"], answer.content
assert client.delete(f"/api/v1/organizations/{answer.json()['data'][0]['id']}/", **bearer).status_code == 204
