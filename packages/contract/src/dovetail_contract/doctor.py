"""The findings of ``manage.py dovetail_doctor`` about the HTTP conventions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from django.conf import settings

from dovetail_core.doctor import Finding, MiddlewareOrder, Project, URLconf

_PREFIX: Final = "dovetail_contract.middleware."
_REQUEST_ID: Final = f"{_PREFIX}RequestIDMiddleware"
_PROBLEM: Final = f"{_PREFIX}ProblemMiddleware"
_HANDLERS: Final = ("dovetail_contract.problems.",)

MIDDLEWARE: Final = [
    MiddlewareOrder(
        _REQUEST_ID,
        "Responses and log lines of middleware in front of it have no request id.",
        before=[
            "django.middleware.security.SecurityMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.locale.LocaleMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "corsheaders.middleware.CorsMiddleware",
            f"{_PREFIX}CacheControlMiddleware",
            _PROBLEM,
            f"{_PREFIX}RateLimitMiddleware",
            f"{_PREFIX}DeprecationMiddleware",
            f"{_PREFIX}IdempotencyMiddleware",
        ],
    ),
    MiddlewareOrder(
        f"{_PREFIX}RateLimitMiddleware",
        "After the conversion to problems, it does not count guesses of credentials outside of Authorization.",
        after=[_PROBLEM],
    ),
]
URLCONFS: Final = [URLconf("dovetail_contract.urls", "", optional=True)]


def examine(project: Project) -> Iterator[Finding]:
    handler = str(getattr(settings, "REST_FRAMEWORK", {}).get("EXCEPTION_HANDLER", ""))
    problems = handler.startswith(_HANDLERS) or project.middleware_position(_PROBLEM) is not None
    if problems and project.middleware_position(_REQUEST_ID) is None:
        yield Finding(
            "middleware.missing",
            "warning",
            "MIDDLEWARE lacks RequestIDMiddleware, so the request_id of a problem is in no header and in no log line.",
            f'MIDDLEWARE = ["{_REQUEST_ID}", ...]',
        )
