"""The token pair of identity opens what tenancy serves."""

from __future__ import annotations

from accounts.models import User
from django.test import Client

from dovetail_tenancy import services

client = Client(SERVER_NAME="localhost")
answer = client.post(
    "/api/auth/jwt/token/", {"username": "miller", "password": "grain-and-stone"}, content_type="application/json"
)
bearer = {"HTTP_AUTHORIZATION": f"Bearer {answer.json()['access']}"}
services.create_organization(name="Third Mill", owner=User.objects.get(username="miller"))
answer = client.get("/api/v1/organizations/", **bearer)
assert [row["name"] for row in answer.json()["data"]] == ["Third Mill"], answer.content
assert client.delete(f"/api/v1/organizations/{answer.json()['data'][0]['id']}/", **bearer).status_code == 204
