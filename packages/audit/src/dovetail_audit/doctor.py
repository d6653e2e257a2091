"""The findings of ``manage.py dovetail_doctor`` about the audit log."""

from __future__ import annotations

from typing import Final

from dovetail_core.doctor import MiddlewareOrder, URLconf

MIDDLEWARE: Final = [
    MiddlewareOrder(
        "dovetail_audit.middleware.AuditMiddleware",
        "Entries about requests lack the user and the request id.",
        after=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "dovetail_contract.middleware.RequestIDMiddleware",
        ],
    ),
]
URLCONFS: Final = [URLconf("dovetail_audit.api.urls", "api/v1/", optional=True)]
