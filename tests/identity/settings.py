"""A minimal project with ``dovetail_identity.User``."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

from tests.databases import databases

SECRET_KEY = "identity-tests-secret-key-of-32-characters"
DATABASES = databases()
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "rest_framework",
    "dovetail_identity",
]
if find_spec("drf_spectacular"):
    INSTALLED_APPS += ["drf_spectacular"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "dovetail_identity.middleware.SignInLimitMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
AUTHENTICATION_BACKENDS = ["dovetail_identity.backends.ModelBackend"]
CACHES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "database": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "attempts",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    },
}
if REDIS_URL := os.environ.get("REDIS_URL"):
    CACHES["redis"] = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": f"identity-tests-{os.getpid()}",
    }
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
AUTH_USER_MODEL = "dovetail_identity.User"
ROOT_URLCONF = "tests.identity.urls"
# A fast hasher that counts its calls.
PASSWORD_HASHERS = ["tests.identity.hashers.CountingHasher"]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "dovetail_identity.api.authentication.JWTAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    # Sign-in must work despite this default.
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
STATIC_URL = "static/"
TIME_ZONE = "UTC"
USE_TZ = True

# Django 6.1 reads MAILERS and deprecates EMAIL_BACKEND, which earlier versions read.
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}

# Many tests mail the same person.
DOVETAIL_MAIL_PER_RECIPIENT = None
