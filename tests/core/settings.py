from __future__ import annotations

from tests.databases import databases

SECRET_KEY = "core-tests"
DATABASES = databases()
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
USE_TZ = True
