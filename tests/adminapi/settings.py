"""A minimal project with ``dovetail_adminapi``."""

from __future__ import annotations

import os
from importlib.util import find_spec

from tests.databases import databases

if os.environ.get("DATABASE_URL", "").startswith("mysql:"):
    import pymysql

    # Django checks the version of mysqlclient.
    pymysql.version_info = (2, 2, 8, "final", 0)
    pymysql.install_as_MySQLdb()

SECRET_KEY = "adminapi-tests-secret-key-of-32-characters"
DATABASES = databases()
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "rest_framework",
    "dovetail_adminapi",
]
if find_spec("drf_spectacular"):
    INSTALLED_APPS += ["drf_spectacular"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "dovetail_adminapi.middleware.AdminAPIMiddleware",
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
ROOT_URLCONF = "tests.adminapi.urls"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
REST_FRAMEWORK = {
    # First, so that REST framework would answer 403 to anonymous requests.
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.SessionAuthentication",
        "tests.adminapi.credentials.KeyAuthentication",
        "tests.adminapi.credentials.ClaimsAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
if find_spec("drf_spectacular"):
    REST_FRAMEWORK["DEFAULT_SCHEMA_CLASS"] = "drf_spectacular.openapi.AutoSchema"
ADMINAPI_SECTIONS = {"shop": "tests.adminapi.shop"}
DOVETAIL_TRAILING_SLASH = False
STATIC_URL = "static/"
TIME_ZONE = "UTC"
USE_TZ = True
