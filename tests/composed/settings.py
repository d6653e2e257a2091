"""The composed service as it is, in a test's environment. ``DATABASE_URL`` and ``REDIS_URL`` are honoured."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

os.environ.update(
    {
        # What the developer who runs the tests has in .env is theirs.
        "DJANGO_ENV_FILE": os.devnull,
        "DJANGO_DEBUG": "false",
        "DJANGO_SECRET_KEY": "composed-tests-" * 4,
        "DJANGO_ALLOWED_HOSTS": "testserver,localhost,127.0.0.1",
        "DJANGO_SECURE_SSL_REDIRECT": "false",
        "API_DOCS_ENABLED": "true",
        "WEBSOCKETS_ENABLED": "true",
        "CORS_ALLOWED_ORIGINS": "https://app.example.com",
        # What a fuzzer or a test's many requests must not run into; the defaults have tests of their own.
        "THROTTLE_ANON": "100000/min",
        "THROTTLE_USER": "100000/min",
        "THROTTLE_MAGIC": "100000/min",
        "THROTTLE_FAILURES": "100000/min",
    }
)
if (url := urlsplit(os.environ.get("DATABASE_URL", ""))).scheme.startswith("postgres"):
    # Roles belong to the server, where other lanes run; conftest makes this one and the lane's own login.
    os.environ["DATABASE_BYPASS_ROLE"] = f"{url.path[1:]}_bypass"
# The suite runs tasks at once; the test of a real worker takes the broker from here.
TEST_BROKER_URL = os.environ.pop("CELERY_BROKER_URL", "")
EXAMPLE_PROJECT = Path(__file__).resolve().parents[2] / "example_project"
if str(EXAMPLE_PROJECT) not in sys.path:
    sys.path.insert(0, str(EXAMPLE_PROJECT))

from example_project.settings import *  # noqa: E402, F403
from example_project.settings import DATABASES, STORAGES  # noqa: E402

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3" and "DATABASE_URL" not in os.environ:
    DATABASES["default"]["NAME"] = ":memory:"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# The production one needs `collectstatic` first.
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
STATIC_ROOT = None
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = True
