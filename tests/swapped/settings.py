"""The lane's own process needs no models; each test runs a project of its own."""

from __future__ import annotations

from tests.databases import databases

SECRET_KEY = "a key for tests only, long enough for every check"
DATABASES = databases()
USE_TZ = True
INSTALLED_APPS: list[str] = []
