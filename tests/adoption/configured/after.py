"""The project's own pages and pictures."""

from __future__ import annotations

from callers import client
from django.test import Client

assert client().get("/pictures/").json() == [{"id": 1, "title": "Still Life"}]
assert Client(SERVER_NAME="localhost").get("/visit/").content == b"Ten to six."
assert Client(SERVER_NAME="localhost").get("/api/v1/organizations/").status_code == 404
