"""A project with its own user model: ``OWN_USER`` is the name of a model in ``tests.identity.own_users``.

``test_own_user_projects.py`` runs it with each model. ``ATOMIC_REQUESTS`` is on. With ``Employee``, the API accepts
only sessions; with ``Person``, simplejwt's rotation and blacklist are on.
"""

from __future__ import annotations

import os

from tests.databases import databases
from tests.identity.settings import *  # noqa: F403  # the defaults
from tests.identity.settings import INSTALLED_APPS, REST_FRAMEWORK

OWN_USER = os.environ.get("OWN_USER", "Employee")
AUTH_USER_MODEL = f"own_users.{OWN_USER}"
INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "drf_spectacular"] + ["tests.identity.own_users"]
DATABASES = databases()
DATABASES["default"]["ATOMIC_REQUESTS"] = True
if DATABASES["default"]["NAME"] != ":memory:":
    # The parent process uses the default name.
    DATABASES["default"]["TEST"] = {"NAME": f"test_{DATABASES['default']['NAME']}_{OWN_USER.lower()}"}
SIMPLE_JWT = {
    "Employee": {"USER_ID_CLAIM": "sub", "SIGNING_KEY": "a-key-of-its-own-for-signing-access-tokens"},
    "Person": {"USER_ID_FIELD": "key", "ROTATE_REFRESH_TOKENS": True, "BLACKLIST_AFTER_ROTATION": True},
    "Subscriber": {"USER_ID_FIELD": "code", "UPDATE_LAST_LOGIN": True, "CHECK_REVOKE_TOKEN": True},
    "Reader": {"UPDATE_LAST_LOGIN": True},
}.get(OWN_USER, {})
if OWN_USER == "Person":
    INSTALLED_APPS += ["rest_framework_simplejwt.token_blacklist"]
if OWN_USER == "Reader":
    SILENCED_SYSTEM_CHECKS = ["auth.E003"]  # USERNAME_FIELD is not unique
if OWN_USER == "Employee":
    REST_FRAMEWORK = REST_FRAMEWORK | {
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"]
    }
if OWN_USER not in ("Employee", "Customer"):
    # The other models have no permissions, which the admin site requires.
    INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "django.contrib.admin"]
    ROOT_URLCONF = "tests.identity.urls_without_admin"
