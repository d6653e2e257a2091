"""The findings of ``manage.py dovetail_doctor`` about organizations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dovetail_core.doctor import Finding, MiddlewareOrder, Project, URLconf

_TENANT: Final = "dovetail_tenancy.middleware.TenantMiddleware"
_AUTHENTICATION: Final = "django.contrib.auth.middleware.AuthenticationMiddleware"

MIDDLEWARE: Final = [
    MiddlewareOrder(
        _TENANT, "The user is not known yet, so views of Django and of the admin site see no rows.", [_AUTHENTICATION]
    ),
]
URLCONFS: Final = [URLconf("dovetail_tenancy.api.urls", "api/v1/", optional=True)]


def examine(project: Project) -> Iterator[Finding]:
    if project.middleware_position(_TENANT) is None:
        yield Finding(
            "middleware.missing",
            "warning",
            "MIDDLEWARE lacks TenantMiddleware, so views with InOrganization raise ImproperlyConfigured.",
            f'MIDDLEWARE = [..., "{_AUTHENTICATION}", "{_TENANT}", ...]',
        )
