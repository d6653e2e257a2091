"""The package in a project without Django REST framework, which its wheel does not require."""

from __future__ import annotations

import subprocess
import sys

PROJECT = """
import io
import sys

# As if it were not installed: imports fail, and find_spec() returns None.
sys.modules["rest_framework"] = None

import django
from django.conf import settings
from django.core.management import call_command
from django.http import HttpResponse
from django.urls import path


def pay(request):
    from dovetail_audit import record

    record("invoice.paid", target=("shop.Invoice", 7))
    return HttpResponse(status=403 if "refuse" in request.GET else 200)


settings.configure(
    SECRET_KEY="a-secret-key-of-more-than-32-characters",
    ALLOWED_HOSTS=["testserver"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "dovetail_audit",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "dovetail_audit.middleware.AuditMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    ROOT_URLCONF="__main__",
    STATIC_URL="static/",
)
django.setup()

from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client

from dovetail_audit.models import Entry

urlpatterns = [path("admin/", admin.site.urls), path("pay/", pay)]
call_command("check", fail_level="WARNING")
call_command("migrate", verbosity=0)
client = Client()
client.force_login(User.objects.create_superuser("ada"))
assert client.post("/pay/?refuse").status_code == 403
assert client.get("/admin/dovetail_audit/entry/").status_code == 200
entries = [(entry.action, entry.actor_label, entry.auth) for entry in Entry.objects.order_by("pk")][1:]
assert entries == [(name, "ada", "session") for name in ("invoice.paid", "request.denied")], entries
call_command("audit_seal")
out = io.StringIO()
call_command("audit_verify", stdout=out)
assert "The log is intact." in out.getvalue(), out.getvalue()
assert not [name for name in sys.modules if name.startswith("rest_framework.")]
"""


def test_project_without_rest_framework_records_and_verifies() -> None:
    finished = subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", PROJECT], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
