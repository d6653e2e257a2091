"""Idempotency records may be a project's own model, in an app before or after ours."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.swapped.project import Project

RECORD = """
from django.db import models
from dovetail_contract.base import AbstractIdempotencyRecord


class Record(AbstractIdempotencyRecord):
    region = models.CharField(max_length=20, default="eu")
    note = models.TextField(null=True)
"""
SETTINGS = """
INSTALLED_APPS += ["dovetail_contract"]
MIDDLEWARE = ["dovetail_contract.middleware.IdempotencyMiddleware"]
ROOT_URLCONF = "urls"
ALLOWED_HOSTS = ["testserver"]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.BasicAuthentication"],
    "EXCEPTION_HANDLER": "dovetail_contract.problems.exception_handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
"""
URLS = """
from django.contrib.auth.models import Group
from django.urls import path
from rest_framework.response import Response
from rest_framework.views import APIView


class Groups(APIView):
    def post(self, request):
        return Response({"id": Group.objects.create(name=request.data["name"]).pk}, status=201)


urlpatterns = [path("api/groups", Groups.as_view())]
"""
USE = """
from datetime import timedelta
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.utils import timezone
from rest_framework.test import APIClient
from dovetail_contract import get_idempotency_model

client = APIClient()
user = User.objects.create_user("ada", password="a")
client.credentials(HTTP_AUTHORIZATION="Basic YWRhOmE=", HTTP_IDEMPOTENCY_KEY="key-1")
first, again = (client.post("/api/groups", {"name": "one"}) for _ in range(2))
print("answers", first.status_code, again.status_code, again.headers.get("Idempotent-Replayed"))
print("alike", again.content == first.content, "effects", Group.objects.count())
print("another", client.post("/api/groups", {"name": "two"}).json()["code"])
rows = get_idempotency_model().objects
row = rows.get()
print("row", row._meta.label, getattr(row, "region", None), getattr(row, "note", None))
rows.update(state="in_progress", body=None, locked_until=timezone.now() - timedelta(seconds=1))
Group.objects.all().delete()
print("taken over", client.post("/api/groups", {"name": "one"}).status_code, rows.get().attempt)
rows.update(expires_at=timezone.now() - timedelta(seconds=1))
call_command("purge_idempotency_records", verbosity=0)
print("left", rows.count())
"""

LANES = {
    "ours": ({}, ""),
    "own before": ({"arecords": RECORD}, "CONTRACT_IDEMPOTENCY_MODEL = 'arecords.Record'"),
    "own after": ({"zrecords": RECORD}, "CONTRACT_IDEMPOTENCY_MODEL = 'zrecords.Record'"),
}


@pytest.mark.parametrize("lane", LANES)
def test_records_of_ones_own(project: Callable[..., Project], lane: str) -> None:
    apps, settings = LANES[lane]
    made = project(apps, SETTINGS + settings)
    made.write("urls.py", URLS)
    made.steps(
        f"makemigrations {' '.join(apps)} documents",
        "check --fail-level WARNING",
        "migrate",
        "makemigrations --check --dry-run",
    )
    told = made.run(USE)
    (app,) = [*apps, ""][:1]
    row = f"row {app}.Record eu None" if app else "row dovetail_contract.IdempotencyRecord None None"
    for line in ("answers 201 201 true", "alike True effects 1", "another idempotency_key_reused", row):
        assert line in told, told
    assert "taken over 201 2" in told
    assert "left 0" in told
    tables = made.run("from django.db import connection; print(connection.introspection.table_names())")
    assert ("dovetail_contract_idempotencyrecord" in tables) is not bool(apps)
    assert f"{app}_record" in tables or not app
    made.steps("flush --noinput", *(f"migrate {label} zero" for label in ("documents", "dovetail_contract", *apps)))


def test_a_model_that_lacks_what_a_record_has_is_told(project: Callable[..., Project]) -> None:
    made = project(
        {"own": "from django.db import models\n\n\nclass Record(models.Model):\n    note = models.TextField()\n"},
        SETTINGS + "CONTRACT_IDEMPOTENCY_MODEL = 'own.Record'",
    )
    made.write("urls.py", URLS)
    told = made.manage("check", fails=True)
    assert "dovetail_contract.E004" in told
    assert "dovetail_contract.base.AbstractIdempotencyRecord" in told
    made.write("settings.py", made.read("settings.py").replace("own.Record", "own.Nothing"))
    assert "dovetail_contract.E004" in made.manage("check", fails=True)
