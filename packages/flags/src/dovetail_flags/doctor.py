"""The findings of ``manage.py dovetail_doctor`` about feature flags."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dovetail_core.doctor import Finding, Project, URLconf
from dovetail_flags.evaluation.facade import flags

_MIDDLEWARE: Final = "dovetail_flags.middleware.FlagsMiddleware"

URLCONFS: Final = [
    URLconf("dovetail_flags.api.urls", "api/v1/", optional=True),
    URLconf("dovetail_flags.api.ofrep_urls", "", optional=True),
]


def examine(project: Project) -> Iterator[Finding]:
    if project.middleware_position(_MIDDLEWARE) is None:
        yield Finding(
            "flags.middleware",
            "info",
            "FlagsMiddleware is not in MIDDLEWARE, so requests have no attribute `flags`.",
            f'MIDDLEWARE = [..., "{_MIDDLEWARE}"]',
        )
    try:
        health = flags.health()
    except Exception as error:  # noqa: BLE001  # a function of the project creates the provider
        message = f"FLAGS_PROVIDER cannot be created: {type(error).__name__}: {error}"
        yield Finding("flags.provider", "error", message, "Correct FLAGS_PROVIDER and FLAGS_PROVIDER_OPTIONS.")
        return
    if not health.healthy:
        message = f"The flags of {health.provider} cannot be read: {health.error or 'the provider is not ready'}"
        yield Finding("flags.health", "error", message, "Correct the error. Until then, evaluations return defaults.")
    elif health.flags is not None:
        yield Finding("flags.health", "info", f"{health.flags} flags were read from {health.provider}.")
