"""The person's own password is worth a token pair, and the pair shows the account."""

from __future__ import annotations

from callers import NAME, PASSWORD, client, person
from django.test import Client

anonymous = Client(SERVER_NAME="localhost")
wrong = anonymous.post("/api/auth/jwt/token/", NAME | {"password": "wrong"}, content_type="application/json")
assert wrong.status_code == 401, wrong.content
response = anonymous.post("/api/auth/jwt/token/", NAME | {"password": PASSWORD}, content_type="application/json")
assert response.status_code == 200, response.content
bearer = {"authorization": f"Bearer {response.json()['access']}"}
response = anonymous.get("/api/v1/me/", headers=bearer)
assert (response.status_code, response.json()["id"]) == (200, person().pk), response.content
# The project's own way to sign in opens it as well.
assert client().get("/api/v1/me/").json()["id"] == person().pk
