"""A project that had its users before: ``OWN_USER`` names the model of ``tests.identity.own_users``.

``test_own_user_projects.py`` runs it with each of them. Transactions around requests everywhere; with ``Employee`` the
API knows sessions only, with ``Person`` refresh tokens rotate and are blacklisted.
"""

from __future__ import annotations

import os

from tests.databases import databases
from tests.identity.settings import *  # noqa: F403  # all that is not said otherwise here
from tests.identity.settings import INSTALLED_APPS, REST_FRAMEWORK

OWN_USER = os.environ.get("OWN_USER", "Employee")
AUTH_USER_MODEL = f"own_users.{OWN_USER}"
INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "drf_spectacular"] + ["tests.identity.own_users"]
DATABASES = databases()
DATABASES["default"]["ATOMIC_REQUESTS"] = True
if DATABASES["default"]["NAME"] != ":memory:":
    # The process that runs this one has the test database of that name.
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
    SILENCED_SYSTEM_CHECKS = ["auth.E003"]  # a USERNAME_FIELD that is not unique: people silence it and wonder later
if OWN_USER == "Employee":
    REST_FRAMEWORK = REST_FRAMEWORK | {
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"]
    }
if OWN_USER not in ("Employee", "Customer"):
    # Their models have no permissions, which the administration site needs.
    INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "django.contrib.admin"]
    ROOT_URLCONF = "tests.identity.urls_without_admin"
