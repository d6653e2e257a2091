"""Runs code in the project ``tests/projects/replaced``, which has no ``django.contrib.auth``, in a new process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parent / "projects" / "replaced"
SETUP = """
import sys

sys.path[:0] = {folders!r}
import django
from django.conf import settings
from django.core.management import call_command
from replaced import settings as project

values = {{name: value for name, value in vars(project).items() if name.isupper()}}
values["DATABASES"] = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}}
INSTALLED_APPS, MIDDLEWARE, REST_FRAMEWORK = values["INSTALLED_APPS"], values["MIDDLEWARE"], values["REST_FRAMEWORK"]
{settings}
values |= {{name: value for name, value in globals().items() if name.isupper()}}
settings.configure(**values)
django.setup()
call_command("check", fail_level="WARNING")
call_command("migrate", verbosity=0)

from django.apps import apps
from django.test.utils import setup_test_environment
from rest_framework.test import APIClient

setup_test_environment()
anonymous, client = APIClient(), APIClient(headers={{"Authorization": "Person key"}})
if apps.is_installed("people"):
    from people.models import AccessToken, Person

    ada = Person.objects.create(name="Ada", email="ada@example.com")
    AccessToken.objects.create(key="key", person=ada)
"""


def run(settings: str, code: str, *folders: Path) -> None:
    """Append ``settings`` to those of the project, migrate a database in memory, and run ``code``.

    ``folders`` are importable. ``code`` has the names ``ada``, her ``client`` and an ``anonymous`` one.
    """
    setup = SETUP.format(folders=[str(PROJECT), *map(str, folders)], settings=settings)
    command = [sys.executable, "-B", "-W", "error", "-c", setup + code]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
