"""The smallest project with ``dovetail_apikeys``."""

from __future__ import annotations

import os
from importlib.util import find_spec

from tests.databases import databases

if os.environ.get("DATABASE_URL", "").startswith("mysql:"):
    import pymysql

    # Django checks the version of mysqlclient.
    pymysql.version_info = (2, 2, 8, "final", 0)
    pymysql.install_as_MySQLdb()

SECRET_KEY = "apikeys-tests-secret-key-of-32-characters"
DATABASES = databases()
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "rest_framework",
    "dovetail_apikeys",
    "tests.apikeys.firms",
]
if find_spec("drf_spectacular"):
    INSTALLED_APPS += ["drf_spectacular"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
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
ROOT_URLCONF = "tests.apikeys.urls"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "dovetail_apikeys.api.authentication.APIKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
API_KEYS_ACCEPT = "everywhere"
API_KEYS_ORGANIZATION_MODEL = "firms.Firm"
API_KEYS_ORGANIZATION_RESOLVER = "tests.apikeys.firms.views.firm_of"
API_KEYS_SCOPES = {"orders:read": "Read orders", "orders:write": "Write orders"}
ALLOWED_HOSTS = ["testserver"]
STATIC_URL = "static/"
TIME_ZONE = "UTC"
USE_TZ = True

# Django 6.1 reads MAILERS and deprecates EMAIL_BACKEND, which earlier versions read.
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
