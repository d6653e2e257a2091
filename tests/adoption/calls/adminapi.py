"""An administrator reads the project's own users, and nobody else does."""

from __future__ import annotations

from callers import client, person
from django.apps import apps
from django.test import Client

from dovetail_adminapi.testing import admin_client, assert_admin_closed

assert Client(SERVER_NAME="localhost").get("/admin/v1/users/").status_code == 401
assert client().get("/admin/v1/users/").status_code == 403
if apps.is_installed("django.contrib.auth"):
    reader = admin_client(permissions=["dovetail_adminapi.view_user"])
    answer = reader.get("/admin/v1/users/", SERVER_NAME="localhost")
    assert answer.status_code == 200, answer.content
    assert str(person().pk) in {str(next(iter(row.values()))) for row in answer.json()["data"]}
assert_admin_closed()
