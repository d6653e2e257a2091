"""The refusal of an anonymous request, which has no user, is a problem with the project's own challenge."""

from __future__ import annotations

from django.test import Client

response = Client(SERVER_NAME="localhost").get("/api/firms/")
assert (response.status_code, response["WWW-Authenticate"]) == (401, "Person"), response.content
assert response.json()["code"] == "not_authenticated"
