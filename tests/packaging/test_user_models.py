from __future__ import annotations

import subprocess
import sys

CODE = """
import django
from django.conf import settings
from django.core.checks import run_checks

settings.configure(
    INSTALLED_APPS=[
        "django.contrib.contenttypes",
        "rest_framework",
        *(
            f"dovetail_{name}"
            for name in ("adminapi", "apikeys", "audit", "contract", "flags", "magiclink", "notify", "tenancy")
        ),
    ],
    MIDDLEWARE=["dovetail_audit.middleware.AuditMiddleware"],
    API_KEYS_ORGANIZATION_MODEL="contenttypes.ContentType",
    # With its own Organization, tenancy raises E022.
    TENANCY_ORGANIZATION_MODEL="contenttypes.ContentType",
    MAGIC_LINK_VERIFY_URL="https://app.example.com/magic-verify",
    MAGIC_LINK_TOKEN_ISSUER="copy.copy",
    REST_FRAMEWORK={"UNAUTHENTICATED_USER": None, "DEFAULT_AUTHENTICATION_CLASSES": []},
)
django.setup()
print(sorted({message.id for message in run_checks()}))
"""


def test_a_user_model_that_is_not_installed_is_reported_by_djangos_checks() -> None:
    """``AUTH_USER_MODEL`` is Django's default, without ``django.contrib.auth``."""
    finished = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    # E001: the resource of users has no model, and a serializer of the user model cannot be imported.
    ids = ["dovetail_adminapi.E001", "dovetail_magiclink.E001", "fields.E300", "fields.E307", "signals.E001"]
    assert finished.stdout.strip() == str(ids), finished.stderr


def test_a_user_model_of_tenancys_organization_must_be_installed() -> None:
    code = CODE.replace('    TENANCY_ORGANIZATION_MODEL="contenttypes.ContentType",\n', "")
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    *_, message, hint = finished.stderr.strip().splitlines()
    assert message.startswith("django.core.exceptions.ImproperlyConfigured: AUTH_USER_MODEL is 'auth.User', "), message
    assert message.endswith(" (dovetail_tenancy.E022)")
    assert "django.contrib.auth" in hint
