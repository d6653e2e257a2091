"""The registry of API versions, ``CONTRACT_VERSIONS``.

A version is the first part of a path below ``CONTRACT_API_PATHS`` that has the form ``v1`` or ``v1.2``. Paths with
another first part (``/api/auth/``) have no version.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import Any

from dovetail_contract.conf import conf
from dovetail_contract.lifecycle.versions import NAME, Version, parse


def versions() -> dict[str, Version]:
    """The registered versions by name."""
    global _parsed
    declared = conf.VERSIONS
    if _parsed[0] is not declared:
        _parsed = (declared, parse(declared))
    return _parsed[1]


# The setting's value and its versions: parsing the dates for every request would cost more than the rest of it.
_parsed: tuple[Any, dict[str, Version]] = (None, {})


def named_in(path: str) -> tuple[str, str]:
    """The path above versions, and the version in a path: ``("/api/", "v1")``; two empty strings if there is none."""
    for base in _bases(tuple(conf.API_PATHS)):
        if path.startswith(base):
            name = path[len(base) :].partition("/")[0]
            if NAME.fullmatch(name):
                return base, name
    return "", ""


@lru_cache(maxsize=8)
def _bases(paths: tuple[str, ...]) -> tuple[str, ...]:
    # With CONTRACT_API_PATHS = ['/api/v1/'], versions are below '/api/'.
    return tuple(re.sub(rf"(?<=/){NAME.pattern}/$", "", path) for path in paths)


def described() -> list[dict[str, Any]]:
    """The registry for the OpenAPI document (``info.x-api-versions``)."""

    def text(value: datetime | None) -> str | None:
        return None if value is None else value.isoformat().replace("+00:00", "Z")

    return [
        {
            "version": version.name,
            "status": version.status,
            "released": text(version.released),
            "deprecated_at": text(version.deprecated_at),
            "sunset_at": text(version.sunset_at),
            "successor": version.successor or None,
            "migration_url": version.migration_url or None,
        }
        for version in versions().values()
    ]
