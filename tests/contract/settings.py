"""The smallest project with ``dovetail_contract``."""

from __future__ import annotations

import os
from importlib.util import find_spec

from tests.databases import databases

if os.environ.get("DATABASE_URL", "").startswith("mysql:"):
    import pymysql

    # Django requires a version of mysqlclient. PyMySQL is compatible and needs no compiler.
    pymysql.version_info = (2, 2, 8, "final", 0)
    pymysql.install_as_MySQLdb()

SECRET_KEY = "contract-tests-secret-key-of-32-characters"
DATABASES = databases()
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "rest_framework",
    "dovetail_contract",
    "tests.contract.shop",
]
if find_spec("drf_spectacular"):
    INSTALLED_APPS += ["drf_spectacular"]
MIDDLEWARE = [
    "dovetail_contract.middleware.RequestIDMiddleware",
    "dovetail_contract.middleware.CacheControlMiddleware",
    "dovetail_contract.middleware.ProblemMiddleware",
    "dovetail_contract.middleware.RateLimitMiddleware",
    "dovetail_contract.middleware.DeprecationMiddleware",
    "dovetail_contract.middleware.UTCMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "dovetail_contract.middleware.IdempotencyMiddleware",
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
ROOT_URLCONF = "tests.contract.urls"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_SCHEMA_CLASS": "dovetail_contract.schema.AutoSchema",
    "EXCEPTION_HANDLER": "dovetail_contract.problems.exception_handler",
    "DEFAULT_PARSER_CLASSES": ["dovetail_contract.validation.parsers.JSONParser"],
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "dovetail_contract.schema.postprocess",
    ]
}
CSRF_FAILURE_VIEW = "dovetail_contract.problems.csrf_failure"
CONTRACT_API_PATHS = ["/api/"]
CONTRACT_PROBLEM_VERBATIM = ["invalid_or_expired"]
CONTRACT_PROBLEM_TYPES = {"frozen": {"status": 409, "title": "The account is frozen"}}
STATIC_URL = "static/"
TIME_ZONE = "UTC"
USE_TZ = True

# Django 6.1 deprecates EMAIL_BACKEND in favour of MAILERS; earlier versions ignore MAILERS.
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
