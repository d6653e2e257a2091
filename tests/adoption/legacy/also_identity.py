"""A token pair opens the project's own view, whose assumptions about users hold."""

from __future__ import annotations

from callers import NAME, PASSWORD, organization
from django.test import Client

anonymous = Client(SERVER_NAME="localhost")
pair = anonymous.post("/api/auth/jwt/token/", NAME | {"password": PASSWORD}, content_type="application/json").json()
tickets = f"/api/companies/{organization().pk}/tickets/"
response = anonymous.get(tickets, headers={"authorization": f"Bearer {pair['access']}"})
assert (response.status_code, len(response.json())) == (200, 1), response.content
response = anonymous.get(tickets, headers={"authorization": "Bearer wrong"})
assert (response.status_code, response["WWW-Authenticate"]) == (401, "Token")
