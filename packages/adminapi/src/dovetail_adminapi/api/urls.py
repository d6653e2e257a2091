"""The admin API. Include these URLs under a path such as ``/admin/v1/``.

The settings are read when the module is imported. Tests with other settings call :func:`build`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.apps import apps
from django.urls import URLPattern, URLResolver, include, path, re_path
from rest_framework.settings import api_settings

from dovetail_adminapi.api.root import RootView, UnknownView
from dovetail_adminapi.api.wrapping import guarded, guarded_section
from dovetail_adminapi.conf import conf

app_name = "dovetail_adminapi"

BUILT_IN: Final[Mapping[str, str]] = {
    "jobs": "dovetail_adminapi.jobs.urls",
    "metrics": "dovetail_adminapi.metrics.urls",
    "resources": "dovetail_adminapi.resources.urls",
    "support": "dovetail_adminapi.support.urls",
    "schema": "dovetail_adminapi.contrib.documentation",
}


def sections() -> dict[str, str]:
    """Return the modules of URLs by section, in the order in which their patterns are tried."""
    built_in = dict(BUILT_IN)
    if conf.SCHEMA is None or not _has_spectacular():
        del built_in["schema"]
    if not conf.IMPERSONATION:
        del built_in["support"]
    return {name: module for name, module in {**built_in, **conf.SECTIONS}.items() if module is not None}


def _has_spectacular() -> bool:
    # By the name of the module, which other processes need not import.
    schema: Any = api_settings.DEFAULT_SCHEMA_CLASS
    bases = schema.__mro__
    return apps.is_installed("drf_spectacular") and any(base.__module__ == "drf_spectacular.openapi" for base in bases)


def build() -> list[URLPattern | URLResolver]:
    """Return the patterns of all sections behind the guard."""
    patterns: list[URLPattern | URLResolver] = guarded([path("", RootView.as_view(), name="root")], "root")
    for section, module in sections().items():
        inner, namespace = guarded_section(section, module)
        patterns += inner if namespace is None else [path("", include((inner, namespace)))]
    return [*patterns, *guarded([re_path(r"^.*$", UnknownView.as_view())], "root")]


urlpatterns = build()
