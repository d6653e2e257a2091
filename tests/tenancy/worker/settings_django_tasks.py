from __future__ import annotations

from tests.tenancy.settings import *  # noqa: F403
from tests.tenancy.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "django_tasks_db"]
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
