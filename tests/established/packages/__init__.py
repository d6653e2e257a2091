"""What each package asks of a project: ``SETTINGS`` and ``URLS``, appended to the established project's own.

``LAST``, where a package has it, comes after all packages' settings. ``FILES`` are modules of the project that the
settings name, by path.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

PROJECT_SETTINGS = """
from established.settings import *

ROOT_URLCONF = "with_packages_urls"
"""
PROJECT_URLS = """
from django.urls import include, path
from established.urls import urlpatterns
"""
PARTS = {module.name: import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)}


def settings(*packages: str) -> str:
    last = "".join(getattr(PARTS[name], "LAST", "") for name in packages)
    return PROJECT_SETTINGS + "".join(PARTS[name].SETTINGS for name in packages) + last


def urls(*packages: str) -> str:
    return PROJECT_URLS + "".join(PARTS[name].URLS for name in packages)


def files(*packages: str) -> dict[str, str]:
    return {path: text for name in packages for path, text in getattr(PARTS[name], "FILES", {}).items()}
