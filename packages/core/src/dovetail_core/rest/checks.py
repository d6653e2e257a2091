"""System checks of the settings of Django REST framework, registered by the packages that have views."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.contrib.auth import get_backends
from django.core.checks import CheckMessage, Warning  # noqa: A004  # Django's name
from django.core.exceptions import ImproperlyConfigured
from rest_framework.settings import DEFAULTS, api_settings


def check_without_auth(**kwargs: object) -> Iterator[CheckMessage]:
    """Warn of REST framework's default classes that require ``django.contrib.auth``, if it is not installed."""
    if apps.is_installed("django.contrib.auth"):
        return
    name, default = "UNAUTHENTICATED_USER", DEFAULTS["UNAUTHENTICATED_USER"]
    # By its path, because the class cannot be imported.
    if api_settings.user_settings.get(name, default) == default:
        yield Warning(
            "django.contrib.auth is not installed, but REST framework uses its AnonymousUser for requests without "
            "authentication, so each of them raises RuntimeError.",
            hint="Set REST_FRAMEWORK['UNAUTHENTICATED_USER'] = None.",
            id="dovetail_core.W007",
        )
    if readers := _password_readers():
        try:
            get_backends()
        except (ImportError, ImproperlyConfigured, RuntimeError) as error:
            yield Warning(
                f"{', '.join(readers)} in DEFAULT_AUTHENTICATION_CLASSES passes passwords to AUTHENTICATION_BACKENDS, "
                "which cannot be loaded without django.contrib.auth, so each request with Basic credentials raises "
                f"{type(error).__name__}.",
                hint="Set REST_FRAMEWORK['DEFAULT_AUTHENTICATION_CLASSES'] to the classes that your API uses, or [].",
                id="dovetail_core.W008",
            )


def _password_readers() -> list[str]:
    # Here, because the module is not needed in a project that has django.contrib.auth.
    from rest_framework.authentication import BasicAuthentication

    classes: list[Any] = list(api_settings.DEFAULT_AUTHENTICATION_CLASSES)
    reads = BasicAuthentication.authenticate_credentials
    return [item.__name__ for item in classes if getattr(item, "authenticate_credentials", None) is reads]
