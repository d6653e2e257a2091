"""A package that core does not know, and projects that use it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from django.conf import settings
from django.test import override_settings

from dovetail_core import doctor, inventory
from dovetail_core.doctor import Finding

PACKAGE = "dovetail_parcel"
PARCEL_MIDDLEWARE = f"{PACKAGE}.middleware.ParcelMiddleware"

if (folder := str(Path(__file__).parent)) not in sys.path:
    sys.path.append(folder)


class Distribution:
    """What core reads of an installed distribution."""

    def __init__(self, name: str, *requires: str) -> None:
        self.metadata, self.version, self.requires = {"Name": name}, "1.0", [*requires]


CORE, PARCEL = Distribution("dovetail-core", "Django>=5.2"), Distribution("dovetail-parcel", "dovetail-core<2,>=1")


def urlconf(*patterns: Any) -> Any:
    return type("URLs", (), {"urlpatterns": patterns})


@contextmanager
def project(
    *, parcel: bool = True, installed: tuple[Distribution, ...] = (CORE, PARCEL), **options: Any
) -> Iterator[None]:
    """Change the settings and the installed distributions. The environment of the tests may have others."""
    apps = [*settings.INSTALLED_APPS, *([PACKAGE] if parcel else []), *options.pop("apps", ())]
    with (
        patch.object(inventory, "distributions", lambda: iter(installed)),
        override_settings(INSTALLED_APPS=apps, **options),
    ):
        yield


def examine(**options: Any) -> list[Finding]:
    with project(**options):
        return doctor.examine()


def named(findings: list[Finding], name: str) -> list[Finding]:
    return [finding for finding in findings if finding.id == name]
