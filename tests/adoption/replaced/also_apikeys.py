"""The person manages the firm's keys. Nobody else does, and an anonymous request is no error."""

from __future__ import annotations

from callers import client
from django.test import Client

assert [row["name"] for row in client().get("/api/v1/api-keys/").json()["data"]] == ["Shop"]
assert Client(SERVER_NAME="localhost").get("/api/v1/api-keys/").status_code == 401
