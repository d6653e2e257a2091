from __future__ import annotations

import os

from tests.databases import databases

if os.environ.get("DATABASE_URL", "").startswith("mysql:"):
    import pymysql

    # Django asks for mysqlclient's version number.
    pymysql.version_info = (2, 2, 8, "final", 0)
    pymysql.install_as_MySQLdb()

SECRET_KEY = "a key for tests only, long enough for every check"
DATABASES = databases()
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "tests.tenancy.urls"
ALLOWED_HOSTS = ["testserver"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "rest_framework",
    "dovetail_tenancy",
    "tests.tenancy.documents",
    "tests.tenancy.lending",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "dovetail_tenancy.middleware.TenantMiddleware",
]
TEMPLATES = [
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
]

DOVETAIL_TRAILING_SLASH = False
# Many tests mail the same person.
DOVETAIL_MAIL_PER_ORGANIZATION = DOVETAIL_MAIL_PER_RECIPIENT = None
TENANCY_INVITATION_SENDER = "dovetail_tenancy.mail.send_invitation"
TENANCY_INVITATION_ACCEPT_URL = "https://app.example.com/invitations#token={token}"
STATIC_URL = "static/"
# Django 6.1 warns where it is missing; those before do not know it, and their tests have a mailbox anyway.
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}

if DATABASES["default"]["ENGINE"].endswith("postgresql"):
    # The whole lane runs under row-level security, as a role that is subject to it: see conftest.
    DATABASES["default"]["ENGINE"] = "dovetail_tenancy.backends.postgresql"
    TENANCY_BYPASS_ROLE = os.environ.get("TENANCY_TEST_BYPASS_ROLE") or f"{DATABASES['default']['NAME']}_bypass"
