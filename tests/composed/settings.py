"""The composed service in a test environment. Uses ``DATABASE_URL`` and ``REDIS_URL`` if set."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

os.environ.update(
    {
        # Ignore the developer's own .env file.
        "DJANGO_ENV_FILE": os.devnull,
        "DJANGO_DEBUG": "false",
        "DJANGO_SECRET_KEY": "composed-tests-" * 4,
        "DJANGO_ALLOWED_HOSTS": "testserver,localhost,127.0.0.1",
        "DJANGO_SECURE_SSL_REDIRECT": "false",
        "MAGIC_LINK_VERIFY_URL": "https://app.example.com/magic-verify",
        "API_DOCS_ENABLED": "true",
        "WEBSOCKETS_ENABLED": "true",
        "SUPPORT_ACCESS_ENABLED": "true",
        "CORS_ALLOWED_ORIGINS": "https://app.example.com",
        # Too high for fuzzers and tests with many requests. Other tests cover the defaults.
        "THROTTLE_ANON": "100000/min",
        "THROTTLE_USER": "100000/min",
        "THROTTLE_MAGIC": "100000/min",
        "THROTTLE_FAILURES": "100000/min",
    }
)
if (url := urlsplit(os.environ.get("DATABASE_URL", ""))).scheme.startswith("postgres"):
    # Roles belong to the server, which other lanes share. conftest creates this role and the lane's login.
    os.environ["DATABASE_BYPASS_ROLE"] = f"{url.path[1:]}_bypass"
# The suite runs tasks immediately. Tests with a real worker use this broker.
TEST_BROKER_URL = os.environ.pop("CELERY_BROKER_URL", "")
EXAMPLE_PROJECT = Path(__file__).resolve().parents[2] / "example_project"
if str(EXAMPLE_PROJECT) not in sys.path:
    sys.path.insert(0, str(EXAMPLE_PROJECT))

from example_project.settings import *  # noqa: E402, F403
from example_project.settings import DATABASES, STORAGES  # noqa: E402

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3" and "DATABASE_URL" not in os.environ:
    DATABASES["default"]["NAME"] = ":memory:"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# The storage for production requires `collectstatic`.
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
STATIC_ROOT = None
# Tests look into the mailbox after the response. Programs that they start use a thread or a worker.
MAGIC_LINK_MAIL_DISPATCH = "dovetail_magiclink.mail.deliver"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = True
