from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.module_loading import autodiscover_modules

from dovetail_flags.conf import conf
from dovetail_flags.types.declaration import DECLARATIONS, Declared


def discover() -> None:
    """Import the modules ``flags`` of all installed apps, which call ``declare()``."""
    autodiscover_modules("flags")


def declared_flags() -> Mapping[str, Declared]:
    """Return the flags of ``FLAGS_DECLARED`` and ``declare()``. The setting takes precedence."""
    declared: Any = conf.DECLARED
    return {**DECLARATIONS, **declared}
