"""A token pair for the project's own user by its own USERNAME_FIELD, and what the pair opens."""

from __future__ import annotations

import runpy
from pathlib import Path

from django.contrib.auth import get_user_model
from django.test import Client

User = get_user_model()
assert User._meta.label == "accounts.User"

client = Client(SERVER_NAME="localhost")


def post(path, **data):
    return client.post(path, data, content_type="application/json")


answer = post("/api/auth/jwt/token/", username="miller", password="grain-and-stone")
assert answer.status_code == 200, answer.content
pair = answer.json()
assert pair.keys() == {"access", "refresh"}

bearer = {"HTTP_AUTHORIZATION": f"Bearer {pair['access']}"}
answer = client.get("/api/v1/me/", **bearer)
assert answer.status_code == 200, answer.content
assert answer.json()["id"] == User.objects.get(username="miller").pk, answer.content
assert client.get("/api/v1/me/").status_code in {401, 403}
# The project's own views take the token as well as the session.
assert client.get("/api/orders/", **bearer).json()["count"] == 1

answer = post("/api/auth/jwt/refresh/", refresh=pair["refresh"])
assert answer.status_code == 200, answer.content
assert answer.json().keys() == {"access", "refresh"}, answer.content
assert post("/api/auth/jwt/verify/", token=pair["access"]).status_code == 200
assert post("/api/auth/jwt/token/", username="miller", password="wrong").status_code == 401
# An address that two accounts share signs nobody in.
assert post("/api/auth/jwt/token/", username="shared@example.com", password="grain-and-stone").status_code == 401

runpy.run_path(str(Path(__file__).with_name("identity_accounts.py")))
