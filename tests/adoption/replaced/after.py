"""The project's tokens open its firms, and an anonymous request has no user."""

from __future__ import annotations

from callers import client
from django.test import Client

anonymous = Client(SERVER_NAME="localhost")
assert [firm["name"] for firm in client().get("/api/firms/").json()] == ["Old Mill"]
assert anonymous.get("/api/me/").json() == {"name": None}
assert (anonymous.get("/api/firms/").status_code, anonymous.get("/api/v1/organizations/").status_code) == (401, 404)
