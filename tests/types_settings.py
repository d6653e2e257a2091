"""What the type checker boots to learn the models."""

from __future__ import annotations

SECRET_KEY = "a key for the type checker only"
USE_TZ = True
AUTH_USER_MODEL = "dovetail_identity.User"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "rest_framework",
    "dovetail_identity",
    "dovetail_tenancy",
]
