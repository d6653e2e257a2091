"""A project with its own link model: migrations from zero and back, with a sign-in in between."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SETTINGS = """
SECRET_KEY = "a key for tests only, long enough for every check"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "rest_framework",
    "dovetail_magiclink", "%(app)s",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]
MAGIC_LINK_MODEL = "%(app)s.Link"
MAGIC_LINK_VERIFY_URL = "https://app.example.com"
MAGIC_LINK_MAIL_DISPATCH = "dovetail_magiclink.mail.deliver"
MAGIC_LINK_TOKEN_ISSUER = "dovetail_magiclink.issuers.django_session"
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
"""
MODEL = """
from django.db import models
from dovetail_magiclink.base import AbstractMagicLink


class Link(AbstractMagicLink):
    campaign = models.CharField(max_length=20, default="none")
"""
USE = """
from django.contrib.auth.models import User
from django.test.utils import setup_test_environment
from dovetail_magiclink import get_magic_link_model
from dovetail_magiclink.services import purge_magic_links, request_magic_link, verify
from dovetail_magiclink.testing import mailed_code
setup_test_environment()
user = User.objects.create(username="ada", email="ada@example.com")
request_magic_link(email="ada@example.com", request=None)
assert verify(token=mailed_code(), request=None) == user
link = get_magic_link_model().objects.get()
print(link._meta.label, link.campaign, link.used_at is not None, purge_magic_links())
"""
MANAGE = """
import os, runpy, sys
from django.core.management import call_command

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
import django
django.setup()
for command in sys.argv[1:]:
    if command.endswith(".py"):
        runpy.run_path(command)
    else:
        call_command(*command.split())
"""


@pytest.mark.parametrize("app", ["alinks", "zlinks"])
def test_swapped_link_model_migrates_and_signs_in(tmp_path: Path, app: str) -> None:
    for name, text in {
        "settings.py": SETTINGS % {"app": app},
        "manage.py": MANAGE,
        "use.py": USE,
        f"{app}/__init__.py": "",
        f"{app}/models.py": MODEL,
        f"{app}/migrations/__init__.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    ran = subprocess.run(
        [
            sys.executable,
            "-B",
            "-W",
            "error",
            "manage.py",
            f"makemigrations {app}",
            "check --fail-level WARNING",
            "migrate -v0",
            "makemigrations --check --dry-run",
            "use.py",
            f"migrate -v0 {app} zero",
            "migrate -v0 dovetail_magiclink zero",
        ],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{app}.Link none True 0" in ran.stdout
